# SPDX-License-Identifier: GPL-2.0
# Whose complaints count.  A newer checker has newer opinions, which must not fail
# somebody's tests: what one says that is newer than all that were tried is shown, and
# that is all.  Sourced after vm/common.sh.
# shellcheck shell=bash

# The newest of each that was tried: Debian 13's, and the one of the kernel of kernel/base.
declare -A tried=(
	[checkpatch]=$(KERNEL_BASE='' bases | sed -nE '1s/^[^[:space:]]+[[:space:]]+([0-9.]+).*/\1/p')
	[clippy]=0.1.85
	[cppcheck]=2.17
	[g++]=14
	[gcc]=14
	[shellcheck]=0.10
	[sparse]=0.6.4
)

# The first number with a point, or the only one, of what it says.
checker_version()
{
	case $1 in
	checkpatch)	version_of "$LINUX" ;;
	clippy)		PATH=/usr/bin:/bin clippy-driver --version ;;
	gcc | g++)	"$1" -dumpfullversion ;;
	*)		"$1" --version ;;
	esac 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1
}

# counts CHECKER: succeeds where its complaints are failures.
counts()
{
	local newest=${tried[$1]:-} dots version
	# Not a checker, but lint itself.
	[ -n "$newest" ] || return 0
	dots=${newest//[!.]/}
	version=$(checker_version "$1" | cut -d . -f "1-$((${#dots} + 1))")
	! dpkg --compare-versions "$version" gt "$newest"
}
