#!/bin/sh
# The first process of the guest: makes a machine of the host's files, runs one command, powers off.
# RESULTS, from the kernel's command line, is a folder of the host; `command` there is what is run.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs none /run
mkdir -p -m 1777 /run/tmp
mkdir -p /run/lock /run/netns /run/results /run/modules/lib/modules
ln -s "/usr/lib/uml/modules/$(uname -r)" /run/modules/lib/modules/
mount -t hostfs -o "$RESULTS" none /run/results
ip link set lo up
# All at once: each modprobe reads the lists of modules anew, which takes a tenth of a second here.
# shellcheck disable=SC2046
modprobe -d /run/modules -a $(echo "$MODULES" | tr , ' ')
sh /run/results/command </dev/null >/run/results/output 2>&1
echo $? >/run/results/status
echo o >/proc/sysrq-trigger
sleep 60 # the power goes off meanwhile
