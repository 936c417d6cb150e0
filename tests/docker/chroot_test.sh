#!/usr/bin/env bash
# Installs the packages of a folder in a bare Debian 12, uses them, and purges them: `./dev package test`, as root.
# The bare Debian is $BASE, a tarball of its root, or else is made by mmdebstrap from Debian's mirror.
set -euo pipefail
packages=$(realpath "$1")
root=$(mktemp -d "${TMPDIR:-/var/tmp}/leapstream-chroot.XXXXXX")
server=
cleanup() {
  if [[ -n $server ]]; then kill -KILL "$server" 2> /dev/null || true; fi
  for folder in dev/null dev/urandom proc; do umount -l "$root/$folder" 2> /dev/null || true; done
  rm -rf --one-file-system "$root"
}
trap cleanup EXIT
say() { echo "chroot_test: $*" >&2; }
fail() { say "$*"; exit 1; }
inside() { # Runs a command there.
  chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
}
# All files, users and packages, to see what is left in the end. Caches and logs of apt and dpkg are theirs.
state() {
  (cd "$root" && find . -xdev \( -path ./proc -o -path ./dev -o -path ./tmp -o -path ./var/cache -o -path ./var/lib/apt \
    -o -path ./var/lib/dpkg -o -path ./var/log \) -prune -o -print | sort)
  inside sh -c "getent passwd; getent group; dpkg-query -W -f '\${Package} \${Status}\n'"
}

chmod 755 "$root"  # The server's user must come in, whatever the tarball says of its root.
say "a bare Debian 12"
if [[ -n ${BASE:-} ]]; then
  tar -xf "$BASE" -C "$root"
else
  mmdebstrap --quiet --variant=minbase bookworm "$root"
fi
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d" && chmod 755 "$root/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$root/etc/resolv.conf" 2> /dev/null || true
mount --bind /proc "$root/proc" 2> /dev/null || mount -t proc proc "$root/proc"
for device in null urandom; do
  if [[ ! -c $root/dev/$device ]]; then touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"; fi
done
echo "127.0.0.1 localhost" > "$root/etc/hosts"
mkdir "$root/tmp/packages" && cp "$packages"/*.deb "$root/tmp/packages"
inside apt-get -qq update

say "installing the server, which brings its libraries and nothing of a desktop"
inside apt-get -qq install -y --no-install-recommends adduser > /dev/null  # Others need it, too: it stays.
state > "$root/tmp/before"
inside sh -c 'apt-get -qq install -y --no-install-recommends /tmp/packages/leapstream-server_*.deb' > /dev/null
for package in libcairo2 libtorch1.8 libx11-6; do
  if inside dpkg-query -W "$package" > /dev/null 2>&1; then fail "the server brings $package"; fi
done
inside getent passwd leapstream > /dev/null || fail "there is no user leapstream"
unit=$(cd "$root" && find usr/lib/systemd lib/systemd -name leapstream-server.service | head -1)
command=$(sed -n 's/^ExecStart=//p' "$root/$unit")
inside sh -c "$command --check-config" || fail "the configuration is not good"

say "serving as the unit does: $command"
# The user is the unit's; setpriv takes all capabilities away.
chroot "$root" /usr/bin/setpriv --reuid leapstream --regid leapstream --clear-groups --bounding-set=-all --no-new-privs \
  $command > "$root/tmp/server.log" 2>&1 &
server=$!
inside sh -c 'apt-get -qq install -y --no-install-recommends /tmp/packages/leapstream-client_*.deb' > /dev/null
inside leapstream probe --timeout 60s || { cat "$root/tmp/server.log"; fail "the server does not serve"; }
translated=$(echo "The file could not be opened." | inside leapstream translate)
[[ $translated == "Die Datei konnte nicht geöffnet werden." ]] || fail "translated: $translated"
inside sh -c 'test -s /usr/share/man/man8/leapstream-server.8 && bash -n /usr/share/bash-completion/completions/leapstream'

say "building a program with the library"
inside sh -c 'apt-get -qq install -y --no-install-recommends /tmp/packages/libleapstream-client*.deb g++ cmake make pkg-config' \
  > /dev/null
mkdir "$root/tmp/program"
# The program is the one of docs/install.md.
sed -n "/^cat > app\/main.cc/,/^END/p" "$root/usr/share/doc/leapstream/docs/install.md" | sed '1d;$d' \
  > "$root/tmp/program/main.cc"
sed -n "/^cat > app\/CMakeLists.txt/,/^END/p" "$root/usr/share/doc/leapstream/docs/install.md" | sed '1d;$d' \
  > "$root/tmp/program/CMakeLists.txt"
inside sh -ec 'cd /tmp/program; c++ -std=c++17 main.cc -o by-pkg-config $(pkg-config --cflags --libs leapstream)
  cmake -S . -B build > /dev/null; cmake --build build > /dev/null'
for program in by-pkg-config build/app; do
  translated=$(inside "/tmp/program/$program" localhost:50051 "The file could not be opened.")
  [[ $translated == "Die Datei konnte nicht geöffnet werden." ]] || fail "$program translated: $translated"
done

say "changing the configuration, and installing again"
sed -i 's/^log_level: info/log_level: warn/' "$root/etc/leapstream/server.yaml"
inside sh -c 'dpkg -i /tmp/packages/leapstream-server_*.deb' > /dev/null
grep -q '^log_level: warn' "$root/etc/leapstream/server.yaml" || fail "the configuration was overwritten"

say "stopping"
kill -TERM "$server"
wait "$server" || fail "the server did not stop cleanly: $(cat "$root/tmp/server.log")"
server=

say "purging"
inside apt-get -qq purge -y leapstream-server leapstream-client 'libleapstream-client*' > /dev/null
inside apt-get -qq autoremove --purge -y > /dev/null
inside apt-get -qq purge -y g++ cmake make pkg-config > /dev/null
inside apt-get -qq autoremove --purge -y > /dev/null
left=$(state | diff "$root/tmp/before" - | grep -iE 'leapstream' || true)
[[ -z $left ]] || fail "this is left: $left"
say "good"
