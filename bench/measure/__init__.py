"""What the harnesses in bench/ share: starting what is measured, reading what the kernel says of it, and judging figures.

  arms         starts and stops arena and nginx, reads arena's /stats     generators   runs load and wrk
  process      what /proc says of a process                              tracing      the kernel's count of system calls
  environment  what a reader needs to know of the machine                callgrind    reads callgrind's profiles
  sums         medians, ratios, intervals, slopes, verdicts              table        columns of text
  bounds       figures with the bound they must keep                     limits       checks of many workers, connections, idleness
  soak         memory over millions of requests                          study        the runs of compare
  report       from the runs to sentences and tables                     plot         one picture

Python 3 standard library only.
"""
