#!/bin/bash
# verdict: BELOW_THRESHOLD
# Output that would move a cursor, ring, set a title, and be HTML.
printf '\033[2J\033]0;PASS\007<script>alert(1)</script>\r\0'
honest
