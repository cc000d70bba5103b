// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* gmem: one table of verbs, which is the help text too. */
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "output.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "probe", cmd_probe, "print what this kernel offers for guest_memfd, by type of VM" },
	{ "demo", cmd_demo, "convert the memory of a real guest, step by step, and check it" },
	{ "check", cmd_check, "check whether this kernel keeps its promises (TAP)" },
	{ "map", cmd_map, "draw the states of a memory: terminal, SVG, PNG" },
	{ "who", cmd_who, "find who may hold a page, so that it cannot become private" },
	{ "top", cmd_top, "show what is private in the VMs on this host, and what they convert" },
	{ "stat", cmd_stat, "print the same once, also for Prometheus" },
	{ "trace", cmd_trace, "print the conversions of this host's VMs as they happen" },
	{ "bench", cmd_bench, "measure what conversions cost, in place and with two backings" },
};

static int usage(FILE *to)
{
	size_t i;

	fputs("usage: gmem VERB [OPTION]...\n\n", to);
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-8s%s\n", verbs[i].name, verbs[i].help);
	fputs("\nEach verb has --help.  --version prints the version of gmem.\nExit status: 0 as promised, "
	      "1 something was not, 2 wrong usage, 4 not offered by this kernel.\n", to);

	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static int run(int argc, char **argv)
{
	size_t i;
	int code;

	if (argc < 2)
		return usage(stderr);

	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return usage(stdout);
	if (!strcmp(argv[1], "--version")) {
		puts("gmem " GMEM_VERSION);
		return EXIT_OK;
	}

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(argv[1], verbs[i].name))
			continue;
		/* getopt's messages begin with it. */
		argv[1] = "gmem";
		code = verbs[i].run(argc - 1, argv + 1);
		if (code == EXIT_USAGE)
			fprintf(stderr, "gmem: gmem %s --help says more\n", verbs[i].name);
		return code;
	}

	die_usage("no verb '%s'", argv[1]);
}

int main(int argc, char **argv)
{
	int code = run(argc, argv);

	output_flush();
	return code;
}
