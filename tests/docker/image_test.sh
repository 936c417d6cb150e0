#!/usr/bin/env bash
# Runs an image as docs/deployment.md says, translates with it, and says how large it is: `./dev image test`.
# Arguments: podman or docker, the image, its version. The container has no network: its own client asks it.
set -euo pipefail
engine=$1 image=$2 version=$3
name=leapstream-image-test-$$
cleanup() { "$engine" rm -f "$name" > /dev/null 2>&1 || true; }
trap cleanup EXIT
say() { echo "image_test: $*" >&2; }
fail() { say "$*"; "$engine" logs "$name" >&2 || true; exit 1; }
inside() { "$engine" exec -i "$name" "$@"; }
safe=(--read-only --cap-drop ALL --security-opt no-new-privileges --network none)
# podman's own limits may be above those of this machine.
safe+=(--ulimit nofile=4096 --ulimit nproc=4096)

said=$("$engine" run --rm "${safe[@]}" "$image" --version)
[[ $said == *"$version"* ]] || fail "--version said: $said"

say "serving"
"$engine" run -d --name "$name" "${safe[@]}" "$image" > /dev/null
tries=0
until inside leapstream probe --timeout 5s > /dev/null 2>&1; do
  ((++tries < 60)) || fail "the server does not serve"
done
translated=$(echo "The file could not be opened." | inside leapstream translate)
[[ $translated == "Die Datei konnte nicht geöffnet werden." ]] || fail "translated: $translated"
[[ $(inside id -u) == 10001 ]] || fail "the server runs as $(inside id)"
grep -q "^CapEff:.*0000000000000000$" <(inside cat /proc/1/status) || fail "the server has capabilities"
! "$engine" exec --user 0 "$name" touch /models/file 2> /dev/null || fail "the root can be written to"
for file in copyright Apache-2.0; do
  inside test -s "/usr/share/doc/leapstream/$file" || fail "there is no $file"
done

say "the health check of the image"
if [[ $engine == podman ]]; then
  podman healthcheck run "$name" > /dev/null || fail "it failed"
else
  tries=0
  until [[ $(docker inspect -f '{{.State.Health.Status}}' "$name") == healthy ]]; do
    ((++tries < 600)) || fail "it is not healthy"
    inside leapstream probe --timeout 1s > /dev/null
  done
fi

say "stopping"
"$engine" stop -t 60 "$name" > /dev/null
status=$("$engine" inspect -f '{{.State.ExitCode}}' "$name")
[[ $status == 0 ]] || fail "the server ended with $status"
say "good: $image has $(($("$engine" image inspect -f '{{.Size}}' "$image") / 1000000)) MB"
