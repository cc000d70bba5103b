// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The table that a run ends with: what should be reached, and what was. */
#include <math.h>
#include <stdio.h>

#include "bench.h"

#define K(m, w, d, p, t, b) (&(struct key){ .measure = m, .way = w, .direction = d, \
	.policy = p, .touched = t, .bytes = b, .count = 1 })

static double median(const char *measure, const char *way, const char *direction,
		     const char *policy, const char *touched, uint64_t bytes)
{
	return record_median(K(measure, way, direction, policy, touched, bytes));
}

static double call(const char *way, const char *direction, const char *policy,
		   const char *touched, uint64_t bytes)
{
	return median("conversion", way, direction, policy, touched, bytes);
}

static double floor_of(const char *measure, uint64_t bytes)
{
	return median(measure, "floor", "-", "-", "-", bytes);
}

static double highest(double a, double b)
{
	return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
}

static double lowest(double a, double b)
{
	return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
}

static double whole_against_old(void)
{
	return median("whole_bound", "halves_keep", "to_private", "-", "never", 512 * MIB) /
	       median("whole_bound", "in_place", "to_private", "zero", "never", 512 * MIB);
}

static double whole_by_size(void)
{
	return median("whole_sparse", "in_place", "to_private", "zero", "never", 16 * TIB) /
	       median("whole_sparse", "in_place", "to_private", "zero", "never", GIB);
}

static double round_trip(void)
{
	return median("round_trip", "halves", "-", "-", "-", 2 * MIB) /
	       median("round_trip", "in_place", "-", "preserve", "-", 2 * MIB);
}

static double to_shared_against_old(void)
{
	return call("halves", "to_shared", "-", "guest", 2 * MIB) /
	       call("in_place", "to_shared", "preserve", "guest", 2 * MIB);
}

static double policies(void)
{
	double preserve = call("in_place", "to_shared", "preserve", "guest", 2 * MIB);

	return highest(call("in_place", "to_shared", "zero", "guest", 2 * MIB) / preserve,
		       call("in_place", "to_shared", "none", "guest", 2 * MIB) / preserve);
}

static double page_against_old(void)
{
	return lowest(call("halves", "to_shared", "-", "guest", BENCH_PAGE) /
		      call("in_place", "to_shared", "preserve", "guest", BENCH_PAGE),
		      call("halves", "to_private", "-", "both", BENCH_PAGE) /
		      call("in_place", "to_private", "preserve", "both", BENCH_PAGE));
}

static double page_against_floor(void)
{
	double floor = floor_of("ioctl", 0) + floor_of("munmap", BENCH_PAGE);

	return highest(call("in_place", "to_shared", "preserve", "guest", BENCH_PAGE),
		       call("in_place", "to_private", "preserve", "both", BENCH_PAGE)) / floor;
}

static double to_private_against_floor(void)
{
	return call("in_place", "to_private", "preserve", "host", 2 * MIB) /
	       (floor_of("munmap", 2 * MIB) + floor_of("page_cache_walk", 2 * MIB));
}

static double peak(void)
{
	double worst = 0;
	unsigned int percent;

	for (percent = 0; percent <= 100; percent += 25) {
		struct key key = {
			.measure = "peak", .way = "in_place", .direction = "-",
			.policy = "preserve", .touched = "-", .bytes = 256 * MIB,
			.count = percent,
		};

		if (percent != 75)
			worst = highest(worst, record_median(&key) / (256 * MIB));
	}

	return worst;
}

static double tracking(void)
{
	return highest(median("tracking", "in_place", "to_private", "preserve", "every_other",
			      8 * GIB),
		       median("tracking", "in_place", "to_private", "preserve", "each_leaf",
			      64 * GIB));
}

static double tracking_of_none(void)
{
	return median("tracking", "in_place", "to_private", "none", "each_leaf", 64 * GIB);
}

static double faults_of(const char *measure, const char *with, const char *without)
{
	struct key key = {
		.measure = measure, .way = "in_place", .direction = "-", .policy = "preserve",
		.touched = with, .bytes = 64 * KIB, .count = 1,
	};
	double beside = record_median(&key);

	key.touched = without;
	return beside / record_median(&key);
}

static double faults(void)
{
	return lowest(faults_of("host_faults", "other_range_1k", "alone"),
		      faults_of("vcpu_faults", "other_range_1k", "alone"));
}

static double faults_flat_out(void)
{
	return lowest(faults_of("host_faults", "other_range", "elsewhere"),
		      faults_of("vcpu_faults", "other_range", "elsewhere"));
}

static const struct target {
	const char *what;
	double (*ratio)(void);
	double bound;
	bool at_least;
	/* Cannot be said in instructions of one CPU. */
	bool time_only;
} targets[] = {
	{ "whole file, 512 MiB, to private: old / new", whole_against_old, 1000, true, false },
	{ "whole file, 16 TiB / 1 GiB", whole_by_size, 1.2, false, false },
	{ "round trip of 2 MiB: old / PRESERVE", round_trip, 5, true, false },
	{ "to shared, 2 MiB resident: old / new", to_shared_against_old, 5, true, false },
	{ "to shared, 2 MiB: ZERO or NONE / PRESERVE", policies, 1.2, false, false },
	{ "one page, the worse direction: old / new", page_against_old, 1, true, false },
	{ "one page, the worse direction / (ioctl + munmap)", page_against_floor, 4, false, false },
	{ "to private, 2 MiB mapped / (munmap + walk)", to_private_against_floor, 1.5, false,
	  false },
	{ "peak memory / the guest's size", peak, 1.01, false, true },
	{ "tracking, every other page: bytes per page", tracking, 0.25, false, true },
	{ "the same with NONE: two trees", tracking_of_none, 0.25, false, true },
	{ "faults beside 1000 conversions a second / alone", faults, 0.8, true, true },
	{ "faults beside conversions flat out / elsewhere", faults_flat_out, 0.8, true, true },
};

int targets_print(void)
{
	size_t i;
	int nr_missed = 0;

	fprintf(stderr, "\n%-52s %10s %10s  (ratios of %s, accelerator: %s)\n", "", "measured",
		"wanted", clock_unit(), clock_accel());
	for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		const struct target *t = &targets[i];
		double ratio;
		bool reached;

		if (t->time_only && clock_is_instructions())
			continue;
		ratio = t->ratio();
		if (isnan(ratio)) {
			fprintf(stderr, "%-52s %10s\n", t->what, "-");
			continue;
		}
		reached = t->at_least ? ratio >= t->bound : ratio <= t->bound;
		nr_missed += !reached;
		fprintf(stderr, "%-52s %10.3f %s %7.3f  %s\n", t->what, ratio,
			t->at_least ? ">=" : "<=", t->bound, reached ? "reached" : "MISSED");
	}

	return nr_missed;
}
