// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* gmem stat: the numbers of the VMs of this host as they are now, also for Prometheus. */
#include <getopt.h>
#include <stdlib.h>

#include "cmd.h"
#include "openmetrics.h"
#include "output.h"
#include "vms_table.h"

enum format { TABLE, JSON, OPENMETRICS };

static void print(FILE *to, const struct vms *vms, enum format format)
{
	switch (format) {
	case TABLE:
		vms_summary(to, vms, NULL);
		vms_table(to, vms, NULL, true, vms_table_order("pid"));
		break;
	case JSON:
		vms_json(to, vms, NULL);
		break;
	case OPENMETRICS:
		openmetrics(to, vms);
		break;
	}
}

int cmd_stat(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "openmetrics", no_argument, NULL, 'm' },
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	const char *output = NULL;
	enum format format = TABLE;
	struct vms vms;
	char *text;
	size_t size;
	FILE *to;
	int c;

	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (c) {
		case 'j':
		case 'm':
			if (format != TABLE)
				die_usage("stat writes one format");
			format = c == 'j' ? JSON : OPENMETRICS;
			break;
		case 'o':
			output = optarg;
			break;
		case 'h':
			puts("usage: gmem stat [OPTION]...\n"
			     "Print what is private in the VMs on this host, and what has been counted so far.\n"
			     "      --json         print an object\n"
			     "      --openmetrics  print metrics for Prometheus\n"
			     "  -o, --output FILE  replace FILE atomically; - is standard output\n"
			     "  -h, --help         print this help");
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		die_usage("stat takes no argument '%s'", argv[optind]);

	vms_read(&vms);
	to = open_memstream(&text, &size);
	if (!to)
		die("no memory");
	print(to, &vms, format);
	if (fclose(to))
		die("no memory");
	vms_free(&vms);

	output_write(output, text, size);
	free(text);

	return EXIT_OK;
}
