// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* gmem top: what is private in the VMs of this host, and what conversions they do. */
#include <getopt.h>
#include <stdlib.h>

#include "cmd.h"
#include "parse.h"
#include "screen.h"
#include "vms_table.h"

#define INTERVAL	2.0

struct top {
	bool once;
	bool json;
	bool files;
	bool in_place;
	double interval;
	const struct vms_table_order *order;
};

static void show(const struct top *top, const struct vms *now, const struct vms *before)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		die("no memory");
	if (top->json) {
		vms_json(to, now, before);
	} else {
		vms_summary(to, now, before);
		vms_table(to, now, before, top->files, top->order);
		/* Separate tables that follow each other. */
		if (!top->once && !top->in_place)
			putc('\n', to);
	}
	if (fclose(to))
		die("no memory");
	screen_show(text, size);
	free(text);
}

static void run(struct top *top)
{
	struct vms samples[2];
	int now = 0;

	/* A single table needs no clean-up, so a signal may end the program as usual. */
	if (!top->once)
		top->in_place = screen_start(top->json);
	vms_read(&samples[now]);
	/* Show the sizes until a second sample gives the rates. */
	if (top->in_place)
		show(top, &samples[now], &samples[now]);
	while (screen_wait(top->interval)) {
		now = !now;
		vms_read(&samples[now]);
		show(top, &samples[now], &samples[!now]);
		vms_free(&samples[!now]);
		if (top->once)
			break;
	}
	vms_free(&samples[now]);
	screen_end();
}

int cmd_top(int argc, char **argv)
{
	static const struct option options[] = {
		{ "once", no_argument, NULL, '1' },
		{ "json", no_argument, NULL, 'j' },
		{ "files", no_argument, NULL, 'f' },
		{ "sort", required_argument, NULL, 's' },
		{ "interval", required_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	struct top top = { .interval = INTERVAL, .order = vms_table_order("private") };
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case '1':
			top.once = true;
			break;
		case 'j':
			top.json = true;
			break;
		case 'f':
			top.files = true;
			break;
		case 's':
			top.order = vms_table_order(optarg);
			if (!top.order)
				die_usage("no order '%s', but %s", optarg, vms_table_orders());
			break;
		case 'i':
			top.interval = parse_seconds(optarg, 0.1, PARSE_DAY);
			break;
		case 'h':
			printf("usage: gmem top [OPTION]...\n"
			       "Show what is private in the VMs on this host, and their conversions, until q or\n"
			       "Ctrl-C.\n"
			       "      --once              print one table, from two samples an interval apart\n"
			       "      --json              print an object on a line for each sample\n"
			       "      --files             also show each guest_memfd, as PID:FD\n"
			       "      --sort KEY          private (the default), or another of\n"
			       "                          %s\n"
			       "      --interval SECONDS  between samples (default %.0f)\n"
			       "  -h, --help              print this help\n", vms_table_orders(), INTERVAL);
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		die_usage("top takes no argument '%s'", argv[optind]);

	run(&top);
	return EXIT_OK;
}
