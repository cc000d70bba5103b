# SPDX-License-Identifier: GPL-2.0
# What every script in vm/ and tools/ starts with: where things are, how to print
# messages, how to run a long step.  Sourced by bash, never run.
# shellcheck shell=bash

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
O=${O:-$TOP/build}
mkdir -p "$O"
O=$(cd "$O" && pwd)
V=${V:-0}
JOBS=${JOBS:-$(nproc)}

ARCH=${ARCH:-x86_64}
[ "$ARCH" != x86 ] || ARCH=x86_64
if [ ! -e "$TOP/vm/arch/$ARCH.sh" ]; then
	echo "error: no architecture '$ARCH': x86_64 or arm64" >&2
	exit 1
fi
# shellcheck source=vm/arch/x86_64.sh
. "$TOP/vm/arch/$ARCH.sh"

# Shared by the scripts that source this file.
# shellcheck disable=SC2034
{
	LINUX=$O/linux				# pristine source plus files and hooks
	STOCK=$O/linux-stock			# pristine source
	CACHE=$O/download			# what was downloaded
	KERNELS=$O/kernel$SUFFIX		# build folders: $KERNELS-release, ...
	HEADERS=$O/headers$SUFFIX/include	# uapi headers of $LINUX
	SELFTESTS=$O/selftests$SUFFIX		# programs for the machine
	SYSROOT=$O/sysroot$SUFFIX		# Debian's packages, if not the system's own
}

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	say "error: $*"
	exit 1
}

# bases: print "PACKAGE VERSION SUITE..." from kernel/base; only for 7.4 if KERNEL_BASE=7.4.
bases()
{
	grep "^linux-source-${KERNEL_BASE:-[0-9.]*}[[:space:]]" "$TOP/kernel/base" ||
		die "kernel/base has no release '$KERNEL_BASE'"
}

# The version of a kernel tree, such as 7.3.4, and its release, such as 7.3.
version_of()
{
	awk '$2 == "=" && /^(VERSION|PATCHLEVEL|SUBLEVEL) / { printf "%s%s", dot, $3; dot = "." }' "$1/Makefile"
}

release_of()
{
	version_of "$1" | cut -d . -f 1,2
}

# ours RELEASE PATH: which files/... or hooks/... in kernel/ is for that release of Linux.
ours()
{
	if [ -e "$TOP/kernel/$1/$2" ]; then
		echo "$TOP/kernel/$1/$2"
	else
		echo "$TOP/kernel/$2"
	fi
}

# hooks_of RELEASE: its hooks, in order.  An empty file leaves out a hook.
hooks_of()
{
	local name hook
	# Most releases have no folder.
	{ find "$TOP/kernel/hooks" "$TOP/kernel/$1/hooks" -name '*.patch' -printf '%f\n' 2>/dev/null || :; } |
		LC_ALL=C sort -u | while read -r name; do
			hook=$(ours "$1" "hooks/$name")
			[ ! -s "$hook" ] || echo "$hook"
		done
}

# Only one script at a time may change a tree and what is built from it; the lock is
# released when the process ends.
lock_tree()
{
	exec 9>"$1.lock"
	flock -n 9 && return
	say "waiting for another build of $1 to end"
	flock 9
}

# kernel_make TREE OBJECTS ARG...: run the kernel's make for ARCH.  The results do not
# depend on who builds them, or when.
kernel_make()
{
	local tree=$1 objects=$2
	shift 2
	make -C "$tree" O="$objects" -j"$JOBS" V="$V" \
		ARCH="$KERNEL_ARCH" CROSS_COMPILE="$CROSS_COMPILE" \
		CC="$(command -v ccache >/dev/null && echo 'ccache ')${CROSS_COMPILE}gcc" \
		KBUILD_BUILD_USER=gmem KBUILD_BUILD_HOST=gmem \
		KBUILD_BUILD_TIMESTAMP='1970-01-01' "$@"
}

# step "what it does" LOG COMMAND...: run the command with its output in LOG; show what it
# does, its progress (files out of TOTAL, if known) and how long it took.
step()
{
	local what=$1 log=$2 start=$SECONDS pid status=0 n shown=0 tick=15
	shift 2
	mkdir -p "$(dirname "$log")"
	if [ "$V" != 0 ]; then
		say "== $what: $*"
		"$@" 2>&1 | tee "$log" >&2 || die "$what failed, see $log"
		say "== $what: done in $((SECONDS - start)) s"
		return
	fi
	say "$what ..."
	[ -t 2 ] && tick=1
	"$@" >"$log" 2>&1 &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		[ $((SECONDS - start - shown)) -ge "$tick" ] || continue
		shown=$((SECONDS - start))
		n=$(files_in "$log")
		progress "$shown" "$n"
	done
	wait "$pid" || status=$?
	if [ -t 2 ]; then
		printf '\r\033[K' >&2
	fi
	if [ "$status" != 0 ]; then
		tail -n 25 "$log" >&2
		die "$what failed with status $status, the whole output is in $log"
	fi
	say "$what: done in $((SECONDS - start)) s"
}

# How many files the kernel's make has built, according to its output.
files_in()
{
	grep -cE '^ +(CC|AS|LD|AR|HOSTCC) ' "$1" || :
}

progress()
{
	local seconds=$1 n=$2 far=
	if [ "$n" -gt 0 ]; then
		far=", $n files"
		[ "${TOTAL:-0}" -lt "$n" ] || far+=" of about $TOTAL"
	fi
	if [ -t 2 ]; then
		printf '\r\033[K  %d s%s' "$seconds" "$far" >&2
	else
		say "  $seconds s$far"
	fi
}

# Succeeds if FILE contains exactly the standard input; otherwise writes that and fails.
same_or_write()
{
	local file=$1 new
	new=$(mktemp "$file.XXXXXX")
	cat >"$new"
	if cmp -s "$new" "$file"; then
		rm -f "$new"
		return 0
	fi
	mv "$new" "$file"
	return 1
}
