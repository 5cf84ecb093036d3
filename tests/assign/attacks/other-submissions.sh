#!/bin/bash
# verdict: BELOW_THRESHOLD
# Looking for the folders of other students.
ls /home /root /tmp /mnt /media /srv /var 2>/dev/null | grep -i -E 'nncore|student|submission' && echo BREACH: others are seen
honest
