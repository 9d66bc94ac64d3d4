# Runs inside a jail and reports what it sees, one KEY=VALUE a line; lists are separated by blanks.
# It needs no more than sh(1) and the small programs of a test's root file system.
echo "uid=$(id -u)"
echo "gid=$(id -g)"
echo "groups=$(id -G)"
echo "umask=$(umask)"
echo "cwd=$(pwd)"
echo "hostname=$(hostname)"
echo "nofile=$(ulimit -n) $(ulimit -Hn)"
echo "core=$(ulimit -c) $(ulimit -Hc)"
[ -t 0 ] && echo "tty=$(stty size)" || echo "tty="
for number in 3 4 5 6 7 8 9; do
    { true <&$number; } 2>/dev/null && open="$open $number"
done
echo "fds=${open# }"
list() { while read -r word; do printf '%s ' "$word"; done; }
echo "mounts=$(df -a | tail -n +2 | while read -r _ _ _ _ _ place; do echo "$place"; done | list)"
echo "devices=$(echo /dev/*)"
echo "environment=$(export -p | while read -r _ word; do echo "${word%%=*}"; done | list)"
