#!/usr/bin/env bash
# Builds the root file system in which the desktop tests run: Debian testing, with every desktop that Lumen streams from.
#   lab/rootfs.sh          builds it unless it is there (needs root, mmdebstrap and about 4 GB)
#   lab/rootfs.sh --path   prints where it is, or would be
# Ends with status 77, saying why, on a machine that cannot build it. The cache is keyed by the recipe: change packages,
# options or finish below and the next call builds anew. For newer packages by the same recipe, remove the folder.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=lab/env.sh
. "$top/lab/env.sh"

packages=(
    # To build Lumen.
    build-essential cmake pkg-config ca-certificates libclang-dev
    libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libavdevice-dev libswscale-dev libswresample-dev
    libpipewire-0.3-dev libspa-0.2-dev libwayland-dev libxkbcommon-dev libpixman-1-dev
    # A session.
    dbus-daemon dbus-bin pipewire pipewire-bin wireplumber libglib2.0-bin
    # Desktops.
    sway swaybg swaylock labwc cage weston mutter gnome-shell kwin-wayland kwin-common libkscreen-bin qt6-wayland gamescope hyprland xwayland
    xdg-desktop-portal xdg-desktop-portal-wlr xdg-desktop-portal-kde xdg-desktop-portal-gnome
    libgl1-mesa-dri libegl1 mesa-vulkan-drivers
    # What the end-to-end tests run, or read results with, and what helps to find out why one fails.
    foot fonts-dejavu-core xkb-data ffmpeg gtk-3-examples openssl procps iproute2
    wayland-utils wlr-randr grim strace jq
    # The virtual machine: its host, its kernel, its first file system.
    qemu-system-x86 linux-image-amd64 busybox-static cpio kmod udev xz-utils
)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
options=(
    --mode=root --variant=apt --components=main,contrib --keyring=$keyring
    # A mirror that lags behind is as good as any for tests.
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"'
    --aptopt='Acquire::Retries "3"'
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*'
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/help/*'
)
# finish ROOT: what no package does.
finish() {
    # Tests look for it: here nothing is left out.
    : >"$1/etc/lumen-lab"
    # D-Bus wants an identity of the machine.
    printf '6c756d656e2d6c61622d6d616368696e\n' >"$1/etc/machine-id"
    rm -rf "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*
}

key=$({ printf '%s\n' "${packages[@]}" "${options[@]}"; declare -f finish; } | sha256sum | cut -c1-12)
root=$lab_dir/root-$key
if [ "${1:-}" = --path ]; then
    echo "$root"
    exit
fi
[ ! -d "$root" ] || exit 0

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || leave_out "the root file system needs Debian or Ubuntu on amd64"
become_root "$top/lab/rootfs.sh" "$@"
unshare --mount true 2>/dev/null || leave_out "this machine gives no namespaces (a container without privileges?)"
command -v mmdebstrap >/dev/null || leave_out "building the root file system needs the package mmdebstrap"
[ -r $keyring ] || leave_out "building the root file system needs the package debian-archive-keyring"

# The Debian mirror that this machine uses; where it uses none, the one that mmdebstrap takes by default.
uris() {
    sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null || true
    sed -n 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?\([^[:space:]]*\).*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true
}
mirror=$(uris | grep -E '/debian/?$' | head -n 1 || true)

mkdir -p "$lab_dir"
exec 9>"$lab_dir/lock"
flock 9
# Somebody else may have built it while we waited.
[ ! -d "$root" ] || exit 0
partial=$root.partial
# What an interrupted build left.
rm -rf --one-file-system "$partial"
room() { df -h --output=avail "$lab_dir" | tail -n 1 | tr -d ' '; }
# 3 GB in the end, and the packages beside it until they are installed.
if [ "$(df --output=avail -B1M "$lab_dir" | tail -n 1)" -lt 5000 ]; then
    echo "lab: the root file system needs 5 GB in $lab_dir, where $(room) are free; LUMEN_LAB_DIR names another place" >&2
    exit 1
fi
echo "lab: building the root file system (${#packages[@]} packages and what they need, from ${mirror:-the default mirror})"
include=$(IFS=,; echo "${packages[*]}")
# One attempt, in mounts of its own, so that none stays when it is interrupted.
build() {
    rm -rf --one-file-system "$partial"
    unshare --mount --propagation private mmdebstrap "${options[@]}" --include="$include" \
        testing "$partial" ${mirror:+"$mirror"} >"$lab_dir/rootfs.log" 2>&1
}
# A mirror that is being updated names packages that it no longer has, for some minutes.
for pause in 30 120 ""; do
    build && break
    # The last lines name the command that failed, these why it did.
    grep -E '^(E|W|Err|dpkg):|: error|No space left' "$lab_dir/rootfs.log" | tail -n 20 >&2 || tail -n 20 "$lab_dir/rootfs.log" >&2
    if [ -z "$pause" ]; then
        echo "lab: the root file system could not be built; the whole log is $lab_dir/rootfs.log; $(room) free" >&2
        rm -rf --one-file-system "$partial"
        exit 1
    fi
    echo "lab: it could not be built; again in $pause s"
    sleep "$pause"
done
finish "$partial"
mv "$partial" "$root"
# What earlier recipes built.
for old in "$lab_dir"/root-* "$lab_dir"/initramfs-*; do
    [ "$old" = "$root" ] || rm -rf --one-file-system "$old"
done
echo "lab: $(du -sh "$root" | cut -f1) in $root"
