// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* gmem bench is missing here: its guest and its clock are x86's. */
#include <stdio.h>
#include <string.h>

#include "cmd.h"

int cmd_bench(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--help")) {
		puts("usage: gmem bench: measures on x86 only");
		return EXIT_OK;
	}
	die_unsupported("bench measures on x86 only");
}
