#!/bin/sh
# rerankd for people without root: start, stop, restart, status, log. In tmux where there is one, else with nohup.
#
#   ./rerankd.sh start [arguments of `rerankd serve`]     starts again what ends, and remembers the arguments
#   ./rerankd.sh stop | restart | status | log
#   crontab -e:  @reboot /path/to/rerankd.sh start        at boot
#
# RERANK_PROGRAM: the program, by default `rerankd` on the PATH. RERANK_STATE: folder for the log, by default
# ~/.local/state/rerankd. `tmux attach -t rerankd` shows the log as it grows; Ctrl-B D leaves it.
set -eu

program=${RERANK_PROGRAM:-rerankd}
state=${RERANK_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/rerankd}
log=$state/rerankd.log
pid_file=$state/keeper.pid
arguments=$state/arguments
most_bytes=10000000
mkdir -p "$state" && chmod 700 "$state"
here=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")

# The keeper's process id, where it lives and is no stranger that got the same id after a reboot.
keeper() {
  [ -s "$pid_file" ] || return 1
  pid=$(cat "$pid_file")
  # The brackets keep `ps` from finding a grep: the keeper's command line names this script and `keep`.
  ps -o args= -p "$pid" 2>/dev/null | grep -q "$(basename "$here") [k]eep" || return 1
  echo "$pid"
}

turn_log() {
  if [ -f "$log" ] && [ "$(wc -c <"$log")" -gt "$most_bytes" ]; then mv "$log" "$log.1"; fi
}

# Runs until it is told to stop: starts the server, and starts it again where it ends by itself.
keep() {
  echo $$ >"$pid_file"
  child='' tail='' pause=1
  trap 'stopping=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' TERM INT HUP
  stopping=no
  if [ -t 1 ]; then tail -n 0 -F "$log" 2>/dev/null & tail=$!; fi
  while [ "$stopping" = no ]; do
    turn_log
    # One argument a line; none of rerankd's has a line break.
    set --
    while IFS= read -r each; do set -- "$@" "$each"; done <"$arguments"
    began=$(date +%s)
    "$program" serve "$@" >>"$log" 2>&1 &
    child=$!
    code=0; wait "$child" || code=$?
    while kill -0 "$child" 2>/dev/null; do code=0; wait "$child" || code=$?; done # a signal ends `wait` early
    child=''
    [ "$stopping" = no ] || break
    case $code in
      0 | 2 | 3) echo "rerankd.sh: ended with code $code: not started again" >>"$log"; break ;;
    esac
    if [ $(($(date +%s) - began)) -gt 60 ]; then pause=1; fi
    echo "rerankd.sh: ended with code $code: started again in $pause s" >>"$log"
    sleep "$pause" & child=$!; wait "$child" || true; child=''
    if [ "$pause" -lt 30 ]; then pause=$((pause * 2)); fi
  done
  [ -z "$tail" ] || kill "$tail" 2>/dev/null || true
  rm -f "$pid_file"
}

start() {
  if pid=$(keeper); then echo "runs already (process $pid)"; return 0; fi
  command -v "$program" >/dev/null || { echo "there is no $program on the PATH: set RERANK_PROGRAM" >&2; exit 1; }
  if [ $# -gt 0 ] || [ ! -f "$arguments" ]; then
    : >"$arguments" && chmod 600 "$arguments"
    for each in "$@"; do printf '%s\n' "$each" >>"$arguments"; done
  fi
  : >>"$log" && chmod 600 "$log"
  if [ "${RERANK_TMUX:-yes}" = yes ] && command -v tmux >/dev/null; then
    # A tmux that runs already has an environment of its own.
    tmux new-session -d -s rerankd \
      "RERANK_PROGRAM='$(command -v "$program")' RERANK_STATE='$state' exec sh '$here' keep"
  else
    nohup sh "$here" keep >/dev/null 2>&1 </dev/null &
  fi
  for _ in 1 2 3 4 5 6; do # a wrong setting shows within moments
    sleep 0.5
    if [ -s "$pid_file" ] && ! keeper >/dev/null; then break; fi
  done
  if pid=$(keeper); then
    echo "started (process $pid); log: $log"
  else
    echo "did not start:" >&2; tail -n 5 "$log" >&2; exit 1
  fi
}

stop() {
  pid=$(keeper) || { echo "does not run"; return 0; }
  kill -TERM "$pid"
  for _ in $(seq 90); do # more than server.shutdown_timeout_s
    keeper >/dev/null || { echo "stopped"; return 0; }
    sleep 0.5
  done
  echo "does not stop; kill -9 $pid and its child would end it" >&2; exit 1
}

case ${1:-} in
  start) shift; start "$@" ;;
  stop) stop ;;
  restart) stop; start ;;
  status) if pid=$(keeper); then echo "runs (process $pid)"; else echo "does not run"; exit 3; fi ;;
  log) tail -n 50 -F "$log" ;;
  keep) keep ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$here"; exit 2 ;;
esac
