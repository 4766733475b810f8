"""The measuring of VRRP daemons: this one, and keepalived beside it.

What is measured is what a stranger could see: packets on the wire, with the kernel's time stamps,
and what /proc and rtnetlink say of the processes and their network namespaces. Nothing in here
imports the daemon; it is started as a command, as keepalived is.

    case        which virtual routers on how many interfaces, and their configuration files
    network     two network namespaces and the cables between them
    kinds       the daemons: how each is started, asked for its version, and seen to be ready
    processes   a process tree's processor time, memory, open files, and its death
    recording   the adverts on the wire: the observer's process and what it has seen
    addresses   when virtual addresses appeared
    lab         one run of one daemon, from the first process to what is left of the last
    figures     what a run has measured; medians, JSON
    phases      when in the second each virtual router speaks
    compare     several daemons, each several times, in turns
    screen      the progress line and the table
    picture     the plots
    growth      which points the plots of growth have
    machine     on what all this was measured
    goals       what issue 4 asks for
    crowd       whom the load generator plays, and their adverts
    hostile     adverts that must be refused
    load        the load generator
    answers     what a device under test has answered
    flood       hostile load on one daemon, every packet accounted for
    balancing   health checks, and the table of IPVS
    profile     the functions in which the time is spent
    workspace   folders, and the removal of those that a killed bench has left
    checkout    what needs the source: the same packets in C, micro benchmarks
    store       what has been measured, on disk
    document    docs/performance.md: what is measured for it
    page        its text
"""
