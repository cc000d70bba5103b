// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The table at the end of a run: the targets, and what was reached. */
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

/* ZERO or NONE, whichever is worse, against PRESERVE. */
static double mixed_policies(const char *direction, const char *touched, uint64_t bytes)
{
	double preserve = median("mixed", "in_place", direction, "preserve", touched, bytes);

	return highest(median("mixed", "in_place", direction, "zero", touched, bytes) / preserve,
		       median("mixed", "in_place", direction, "none", touched, bytes) / preserve);
}

static double mixed_empty_to_shared(void)
{
	return mixed_policies("to_shared", "never", GIB);
}

static double mixed_empty_to_private(void)
{
	return mixed_policies("to_private", "never", GIB);
}

static double mixed_full_to_shared(void)
{
	return mixed_policies("to_shared", "host", 64 * MIB);
}

static double mixed_full_to_private(void)
{
	return mixed_policies("to_private", "host", 64 * MIB);
}

static double mixed_millions(const char *policy)
{
	return highest(median("mixed", "in_place", "to_shared", policy, "never", GIB),
		       median("mixed", "in_place", "to_private", policy, "never", GIB)) / 1e6;
}

static double mixed_preserve(void)
{
	return mixed_millions("preserve");
}

static double mixed_zero(void)
{
	return mixed_millions("zero");
}

static double mixed_none(void)
{
	return mixed_millions("none");
}

static double touch_shared(void)
{
	return median("touch_shared", "in_place", "-", "preserve", "-", 2 * MIB) /
	       floor_of("memset", 2 * MIB);
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

/* The worse of a vCPU and the host. */
static double first_touch(const char *beside)
{
	const char *const who[] = { "vcpu_first_touch", "host_first_touch" };
	double ratios[2];
	int i;

	for (i = 0; i < 2; i++)
		ratios[i] = median(who[i], "in_place", "-", "preserve", beside, BENCH_PAGE) /
			    median(who[i], "in_place", "-", "preserve", "quiet", BENCH_PAGE);

	return highest(ratios[0], ratios[1]);
}

static double touch_beside_pipe(void)
{
	return first_touch("pipe");
}

static double touch_beside_pin(void)
{
	return first_touch("pin");
}

static double touch_beside_fallocate(void)
{
	return first_touch("fallocate");
}

static double faults_flat_out(void)
{
	return lowest(faults_of("host_faults", "other_range", "elsewhere"),
		      faults_of("vcpu_faults", "other_range", "elsewhere"));
}

/* With PRESERVE, which costs least, so that the share of a device is largest. */
static double with_device(const char *path, const char *touched)
{
	return median("device_round_trip", path, "-", "preserve", "never", 16 * MIB) /
	       median("device_round_trip", "no_device", "-", "preserve", touched, 16 * MIB);
}

static double iommufd_against_touch(void)
{
	return with_device("iommufd", "host");
}

static double type1_against_touch(void)
{
	return with_device("type1", "host");
}

static double iommufd_against_nothing(void)
{
	return with_device("iommufd", "never");
}

/* Rows that are measured and reported without a bound. */
#define TOLD	NAN

static const struct target {
	const char *what;
	double (*ratio)(void);
	double bound;
	bool at_least;
	/*
	 * The units in which it is valid: not everything works on one CPU, and counts are
	 * not times.
	 */
	enum { BOTH, TIME, COUNT } in;
} targets[] = {
	{ "whole file, 512 MiB, to private: old / new", whole_against_old, 1000, true, BOTH },
	{ "whole file, 16 TiB / 1 GiB", whole_by_size, 1.2, false, BOTH },
	{ "round trip of 2 MiB: old / PRESERVE", round_trip, 5, true, BOTH },
	{ "to shared, 2 MiB resident: old / new", to_shared_against_old, 5, true, BOTH },
	{ "to shared, 2 MiB: ZERO or NONE / PRESERVE", policies, 1.2, false, BOTH },
	{ "one page, the worse direction: old / new", page_against_old, 1, true, BOTH },
	{ "one page, the worse direction / (ioctl + munmap)", page_against_floor, 4, false, BOTH },
	{ "to private, 2 MiB mapped / (munmap + walk)", to_private_against_floor, 1.5,
	  false, BOTH },
	{ "peak memory / the guest's size", peak, 1.01, false, TIME },
	{ "tracking, every other page: bytes per page", tracking, 0.25, false, TIME },
	{ "the same with NONE: two trees", tracking_of_none, 0.25, false, TIME },
	{ "faults beside 1000 conversions a second / alone", faults, 0.8, true, TIME },
	{ "faults beside conversions flat out / elsewhere", faults_flat_out, 0.8, true, TIME },
	{ "first touch beside a page in a pipe / quiet", touch_beside_pipe, 2, false, TIME },
	{ "first touch beside a pinned page / quiet", touch_beside_pin, 2, false, TIME },
	{ "first touch beside fallocate, conversions / quiet", touch_beside_fallocate, TOLD,
	  false, TIME },
	{ "host touches 2 MiB just shared / memset if mapped", touch_shared, TOLD, false, BOTH },
	{ "mixed, no folios, to shared: ZERO, NONE / PRESERVE", mixed_empty_to_shared, TOLD,
	  false, BOTH },
	{ "mixed, no folios, to private: the same", mixed_empty_to_private, TOLD, false, BOTH },
	{ "mixed, all folios, to shared: the same", mixed_full_to_shared, TOLD, false, BOTH },
	{ "mixed, all folios, to private: the same", mixed_full_to_private, TOLD, false, BOTH },
	{ "round trip of 16 MiB: iommufd has it / host touches", iommufd_against_touch, 7,
	  false, BOTH },
	{ "the same: VFIO type1, page by page / host touches", type1_against_touch, TOLD,
	  false, BOTH },
	{ "the same: iommufd / nobody touches", iommufd_against_nothing, TOLD, false, BOTH },
	{ "mixed, no folios, 2^18 pages, PRESERVE: millions", mixed_preserve, 0.1, false, COUNT },
	{ "the same with ZERO", mixed_zero, 0.2, false, COUNT },
	{ "the same with NONE", mixed_none, 5, false, COUNT },
};

int targets_print(void)
{
	bool is_first = true;
	int nr_missed = 0;
	size_t i;

	for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		const struct target *t = &targets[i];
		double ratio;
		bool reached;

		if (t->in == (clock_is_instructions() ? TIME : COUNT))
			continue;
		ratio = t->ratio();
		/* Another case measures it. */
		if (isnan(ratio))
			continue;
		if (is_first)
			fprintf(stderr, "\n%-52s %10s %10s  (ratios of %s, accelerator: %s)\n", "",
				"measured", "wanted", clock_unit(), clock_accel());
		is_first = false;
		if (isnan(t->bound)) {
			fprintf(stderr, "%-52s %10.3f\n", t->what, ratio);
			continue;
		}
		reached = t->at_least ? ratio >= t->bound : ratio <= t->bound;
		nr_missed += !reached;
		fprintf(stderr, "%-52s %10.3f %s %7.3f  %s\n", t->what, ratio,
			t->at_least ? ">=" : "<=", t->bound, reached ? "reached" : "MISSED");
	}

	return nr_missed;
}
