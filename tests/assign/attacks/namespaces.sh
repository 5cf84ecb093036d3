#!/bin/bash
# verdict: BELOW_THRESHOLD
# Mounts and namespaces.
unshare -m true 2>/dev/null && echo BREACH: a mount namespace
unshare -n true 2>/dev/null && echo BREACH: a network namespace
mount -t tmpfs none /tmp 2>/dev/null && echo BREACH: a mount
chroot / true 2>/dev/null && echo BREACH: chroot
honest
