# SPDX-License-Identifier: GPL-2.0
# Which checkers' complaints count.  A newer checker has new opinions, which must not make
# somebody's tests fail: if a checker is newer than all versions that were tried, its
# complaints are only shown.  Sourced after vm/common.sh.
# shellcheck shell=bash

# The newest version of each that was tried: Debian 13's, and checkpatch of the kernel in
# kernel/base.
declare -A tried=(
	[checkpatch]=$(KERNEL_BASE='' bases | sed -nE '1s/^[^[:space:]]+[[:space:]]+([0-9.]+).*/\1/p')
	[clippy]=0.1.85
	[cppcheck]=2.17
	[g++]=14
	[gcc]=14
	[shellcheck]=0.10
	[sparse]=0.6.4
)

# The first number with a dot in what the checker prints as its version.
checker_version()
{
	case $1 in
	checkpatch)	version_of "$LINUX" ;;
	clippy)		PATH=/usr/bin:/bin clippy-driver --version ;;
	gcc | g++)	"$1" -dumpfullversion ;;
	*)		"$1" --version ;;
	esac 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1
}

# counts CHECKER: succeeds if its complaints are failures.
counts()
{
	local newest=${tried[$1]:-} dots version
	# lint itself has no version.
	[ -n "$newest" ] || return 0
	dots=${newest//[!.]/}
	version=$(checker_version "$1" | cut -d . -f "1-$((${#dots} + 1))")
	! dpkg --compare-versions "$version" gt "$newest"
}
