// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: what libgmem(7) answers to the author of a VMM, tried.  gmem_host_test,
 * gmem_migration_test and gmem_userfaultfd_test have dumps, NUMA and marks in place, by the
 * kernel's calls alone.  TAP.
 */
#include <string.h>

#include "answers.h"

int main(int argc, char **argv)
{
	static const struct {
		int nr;
		void (*run)(void);
	} parts[] = {
		{ 5, emulator }, { 4, core_dumps }, { 3, numa }, { 4, seccomp },
	};
	size_t i;

	if (argc == 5 && !strcmp(argv[1], "after-exec"))
		return after_exec(argv);

	plan("answers", 33);
	make_vm(GMEM_IN_PLACE, PAGES * PAGE);
	processes();
	slots();
	live_update();
	gmem_vm_exit(memories);
	balloon(GMEM_IN_PLACE);
	balloon(GMEM_TWO_BACKINGS);
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!plan_alone(parts[i].nr))
			continue;
		parts[i].run();
		end_alone();
	}

	return exit_status();
}
