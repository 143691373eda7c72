#!/bin/bash
# A mirror job step by step through nc: send a line, read until its answer, look for events on the way.
# Usage: mirror.sh SOCKET DISK COPY
set -eu
coproc QMP { exec nc -U "$1"; }
pid=$QMP_PID
exec 3<&"${QMP[0]}" 4>&"${QMP[1]}"

qmp() {
    printf '%s\n' "$1" >&4
    while read -r -t 60 line <&3; do
        case $line in
        *'"return"'*) echo "ok"; return ;;
        *'"error"'*) echo "error: ${line#*\"class\": }" | cut -d, -f1; return ;;
        esac
    done
    echo "no answer"; exit 1
}

wait_event() {
    while read -r -t 60 line <&3; do
        case $line in *"\"event\": \"$1\""*) echo "$1"; return ;; esac
    done
    echo "no $1"; exit 1
}

read -r -t 60 greeting <&3
case $greeting in '{"QMP": {"version": {"qemu": '*) echo "connected" ;; *) echo "no greeting: $greeting"; exit 1 ;; esac
qmp "{'execute':'qmp_capabilities'}"
qmp "{'execute':'blockdev-add','arguments':{'driver':'raw','node-name':'disk','file':{'driver':'file','filename':'$2'}}}"
qmp "{'execute':'blockdev-add','arguments':{'driver':'raw','node-name':'copy','file':{'driver':'file','filename':'$3'}}}"
qmp "{'execute':'blockdev-mirror','arguments':{'job-id':'m','device':'disk','target':'nobody','sync':'full'}}"
qmp "{'execute':'blockdev-mirror','arguments':{'job-id':'m','device':'disk','target':'copy','sync':'full'}}"
wait_event BLOCK_JOB_READY
qmp "{'execute':'block-job-complete','arguments':{'device':'m'}}"
wait_event BLOCK_JOB_COMPLETED
# QEMU may be gone before its answer is on its way
printf '%s\n' "{'execute':'quit'}" >&4
wait "$pid" && echo "the end"
