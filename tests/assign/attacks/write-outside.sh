#!/bin/bash
# verdict: BELOW_THRESHOLD
# Writing wherever it is not allowed.
for f in /usr/bin/evil /etc/evil /evil /submission/evil data/evil /dev/evil /opt/python/evil /proc/sys/kernel/hostname; do
    (echo x >"$f") 2>/dev/null && echo BREACH: wrote "$f"
done
(echo 7 >>data/g_test_vectors.csv) 2>/dev/null && echo BREACH: wrote the data
honest
