#!/bin/bash
# verdict: BELOW_THRESHOLD
# Files of the kernel that only root should read or write.
(echo c >/proc/sysrq-trigger) 2>/dev/null && echo BREACH: sysrq
(echo core >/proc/sys/kernel/core_pattern) 2>/dev/null && echo BREACH: core_pattern
cat /etc/shadow 2>/dev/null && echo BREACH: shadow
ls /sys/fs/cgroup 2>/dev/null | grep . && echo BREACH: cgroups
ls /dev/sd* /dev/vd* /dev/kmsg /dev/mem 2>/dev/null && echo BREACH: devices
honest
