#!/usr/bin/env bash
# Installs what building and running Lumen needs on Debian 12 or newer and Ubuntu 24.04 or newer.
#   scripts/bootstrap-ubuntu.sh          packages to build and run
#   scripts/bootstrap-ubuntu.sh --test   the same, and what the tests use
# The names are those of Debian 12, where they were tried; Ubuntu 24.04 has all of them in its main and universe archives as
# far as is known, untried.
# Asks for root through sudo when it is not root. Does nothing, quickly, when everything is there.
set -euo pipefail

build=(
    build-essential cmake pkg-config clang libclang-dev
    libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libavdevice-dev libswscale-dev libswresample-dev
    libwayland-dev libxkbcommon-dev libpixman-1-dev libpipewire-0.3-dev libspa-0.2-dev
)
# xkb-data: key maps of the built-in compositor; foot and a font: the terminal that "Desktop" opens there.
run=(xkb-data foot fonts-dejavu-core ca-certificates)
# ffmpeg: the tests read our files back with ffprobe. gtk-3-examples: a program with menus. openssl: an idle TLS client.
# mmdebstrap and Debian's keys: the root file system of the lab, where the desktops are. dbus-daemon: the lab's own tests.
test=(ffmpeg gtk-3-examples openssl dbus-daemon mmdebstrap debian-archive-keyring)

# Only where no sound server is, or one that lacks its half: two of them fight for the sound card.
sound=(pipewire pipewire-pulse wireplumber)

wanted=("${build[@]}" "${run[@]}")
if [ "${1:-}" = "--test" ]; then
    wanted+=("${test[@]}")
elif ! command -v wireplumber pipewire-media-session pulseaudio jackd >/dev/null; then
    wanted+=("${sound[@]}")
fi

command -v apt-get >/dev/null || {
    echo "bootstrap: this machine has no apt-get; install the equivalents of: ${wanted[*]}" >&2
    exit 1
}

missing=()
for package in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "bootstrap: all ${#wanted[@]} packages are there"
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "bootstrap: please run as root: apt-get install ${missing[*]}" >&2
        exit 1
    }
    as_root=(sudo)
fi
echo "bootstrap: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >/dev/null
echo "bootstrap: done"
