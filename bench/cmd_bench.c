// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem bench [CASE...] [--list] [--csv FILE] [--json FILE] [--instructions]
 *
 * Says what it does and what came out on standard error; samples go to FILE, "-"
 * is standard output.
 */
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define EXIT_USAGE 2
#define EXIT_NOT_OFFERED 4

static const struct bench *const benches[] = {
	&bench_floors, &bench_conversion, &bench_round_trip, &bench_cells, &bench_mixed,
	&bench_pattern, &bench_tracking, &bench_peak, &bench_scaling, &bench_beside,
	&bench_device, &bench_profile,
};

#define NR_BENCHES (sizeof(benches) / sizeof(benches[0]))

void bench_die(const char *format, ...)
{
	int error = errno;
	va_list args;

	fflush(stdout);
	fputs("gmem bench: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(error));
	exit(1);
}

void bench_lacks(const char *what)
{
	fprintf(stderr, "gmem bench: this kernel has no %s\n", what);
	exit(EXIT_NOT_OFFERED);
}

static int list(FILE *to)
{
	size_t i;

	for (i = 0; i < NR_BENCHES; i++)
		fprintf(to, "  %-12s %s\n", benches[i]->name, benches[i]->help);

	return 0;
}

static int usage(FILE *to)
{
	fputs("usage: gmem bench [CASE...] [--list] [--csv FILE] [--json FILE] [--instructions]\n\n"
	      "What a conversion costs, in place and with two backings in turn.  Without a\n"
	      "CASE all are measured; FILE may be - for standard output.  --instructions is\n"
	      "for an emulator whose TSC counts them (vm/run -i).\n\n", to);
	return list(to);
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

int cmd_bench(int argc, char **argv)
{
	const char *csv = NULL, *json = NULL;
	const struct bench *chosen[NR_BENCHES];
	FILE *csv_file = NULL, *json_file = NULL;
	bool instructions = false;
	size_t i, nr_chosen = 0;
	int arg;

	for (arg = 1; arg < argc; arg++) {
		const char **file = !strcmp(argv[arg], "--csv") ? &csv :
				    !strcmp(argv[arg], "--json") ? &json : NULL;

		if (!strcmp(argv[arg], "--help"))
			return usage(stdout);
		if (!strcmp(argv[arg], "--list"))
			return list(stdout);
		if (!strcmp(argv[arg], "--instructions")) {
			instructions = true;
		} else if (file) {
			if (++arg == argc) {
				fprintf(stderr, "gmem bench: %s wants a file\n", argv[arg - 1]);
				return EXIT_USAGE;
			}
			*file = argv[arg];
		} else if (find(argv[arg]) && nr_chosen < NR_BENCHES) {
			chosen[nr_chosen++] = find(argv[arg]);
		} else {
			fprintf(stderr, "gmem bench: '%s' is no case and no option; "
				"gmem bench --list names the cases\n", argv[arg]);
			return EXIT_USAGE;
		}
	}

	if (csv)
		csv_file = record_open(csv);
	if (json)
		json_file = record_open(json);
	/* Samples on the heap: one more mapping makes every fault of this process dearer. */
	mallopt(M_MMAP_THRESHOLD, 32 * MIB);
	clock_init(instructions);
	for (i = 0; i < NR_BENCHES && !nr_chosen; i++) {
		if (!benches[i]->on_request &&
		    (instructions ? benches[i]->countable : !benches[i]->only_counted))
			run(benches[i]);
	}
	for (i = 0; i < nr_chosen; i++)
		run(chosen[i]);

	if (csv)
		record_write_csv(csv_file, csv);
	if (json)
		record_write_json(json_file, json);
	record_print();
	targets_print();

	return 0;
}
