"""What the harnesses in bench/ share: starting what is measured, reading what the kernel says of it, and judging figures.

  sums         medians, ratios, intervals, slopes, verdicts: numbers in, words out
  process      what /proc says of a process
  arms         starts and stops arena and nginx, and reads arena's /stats
  generators   runs load and wrk
  tracing      counts system calls with the kernel's own tracepoints
  environment  what a reader needs to know of the machine
  table        columns of text

Python 3 standard library only.
"""
