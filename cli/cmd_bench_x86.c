// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem bench: progress and results go to standard error; samples go to files, one of
 * which may be standard output.
 */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../bench/bench.h"
#include "cmd.h"

static const struct bench *const benches[] = {
	&bench_floors, &bench_conversion, &bench_round_trip, &bench_cells, &bench_mixed,
	&bench_pattern, &bench_tracking, &bench_peak, &bench_scaling, &bench_beside,
	&bench_device, &bench_profile,
};

#define NR_BENCHES (sizeof(benches) / sizeof(benches[0]))

static void list(void)
{
	size_t i;

	for (i = 0; i < NR_BENCHES; i++)
		printf("  %-12s %s\n", benches[i]->name, benches[i]->help);
}

static void usage(void)
{
	puts("usage: gmem bench [OPTION]... [CASE]...\n"
	     "Measure what a conversion costs, in place and with two backings alternately.  Without a\n"
	     "CASE all are measured, which takes minutes.\n"
	     "      --list          list the cases\n"
	     "      --csv FILE      write the samples to FILE; - is standard output\n"
	     "      --json FILE     write medians and extremes to FILE\n"
	     "      --instructions  report instructions, if the emulator's TSC counts them (vm/run -i)\n"
	     "  -h, --help          print this help\n");
	list();
}

static const struct bench *find(const char *name)
{
	size_t i;

	for (i = 0; i < NR_BENCHES; i++) {
		if (!strcmp(benches[i]->name, name))
			return benches[i];
	}

	return NULL;
}

static void run(const struct bench *bench)
{
	struct timespec began, ended;

	clock_gettime(CLOCK_MONOTONIC, &began);
	bench->run();
	clock_gettime(CLOCK_MONOTONIC, &ended);
	fprintf(stderr, "measured %s in %ld s\n", bench->name, ended.tv_sec - began.tv_sec);
}

/* Called before anything is measured, so that an unwritable path is noticed early. */
static FILE *open_file(const char *path)
{
	FILE *to = strcmp(path, "-") ? fopen(path, "w") : stdout;

	if (!to)
		die("cannot write '%s'", path);
	return to;
}

/* Written at once, so that errno is that of the failed write. */
static void write_file(FILE *to, const char *path, void (*print)(FILE *to))
{
	char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		die("no memory for '%s'", path);
	print(memory);
	if (fclose(memory))
		die("no memory for '%s'", path);
	if (fwrite(text, 1, size, to) != size || fflush(to) || (to != stdout && fclose(to)))
		die("cannot write '%s'", path);
	free(text);
}

int cmd_bench(int argc, char **argv)
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "csv", required_argument, NULL, 'c' },
		{ "json", required_argument, NULL, 'j' },
		{ "instructions", no_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	const char *csv = NULL, *json = NULL;
	FILE *csv_file = NULL, *json_file = NULL;
	bool instructions = false;
	size_t i;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			list();
			return EXIT_OK;
		case 'c':
			csv = optarg;
			break;
		case 'j':
			json = optarg;
			break;
		case 'i':
			instructions = true;
			break;
		case 'h':
			usage();
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	for (c = optind; c < argc; c++) {
		if (!find(argv[c]))
			die_usage("no case '%s', 'gmem bench --list' names them", argv[c]);
	}
	if (csv && json && !strcmp(csv, json))
		die_usage("'%s' cannot have both CSV and JSON", csv);

	if (csv)
		csv_file = open_file(csv);
	if (json)
		json_file = open_file(json);
	/*
	 * Samples are on the heap, as one more mapping makes every fault of this process
	 * slower.
	 */
	mallopt(M_MMAP_THRESHOLD, 32 * MIB);
	clock_init(instructions);
	for (i = 0; i < NR_BENCHES && optind == argc; i++) {
		if (!benches[i]->on_request &&
		    (instructions ? benches[i]->countable : !benches[i]->only_counted))
			run(benches[i]);
	}
	for (c = optind; c < argc; c++)
		run(find(argv[c]));

	/* First the part that cannot fail. */
	record_print();
	targets_print();
	if (csv)
		write_file(csv_file, csv, record_csv);
	if (json)
		write_file(json_file, json, record_json);

	return EXIT_OK;
}
