# SPDX-License-Identifier: GPL-2.0
# How scripts in tests/ count results: their own, and those of a machine.
# Sourced after vm/common.sh.
# shellcheck shell=bash

passed=0 failed=0 skipped=0

# count NAME COMMAND...: one result.
count()
{
	local name=$1
	shift
	if "$@"; then
		echo "ok $name"
		passed=$((passed + 1))
	else
		echo "FAIL $name"
		failed=$((failed + 1))
	fi
}

# count_machine KERNEL: add what tests/machine has counted on it.
count_machine()
{
	local p f s
	read -r p f s <"$O/results/machine$SUFFIX-$1"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# The line of totals, which is the last; fails if anything has failed.
totals()
{
	if [ "$skipped" = 0 ]; then
		echo "$passed passed, $failed failed"
	else
		echo "$passed passed, $failed failed, $skipped skipped"
	fi
	[ "$failed" = 0 ]
}
