// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The clock is the TSC: reading it needs no system call on any machine, and under
 * an emulator that counts instructions a tick is one instruction.
 */
#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "bench.h"

#define CALIBRATION_NS	100000000ull
#define NR_READS	1001

static bool instructions;
static double ns_per_tick = 1;
static double cost_of_reading;

static uint64_t monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

uint64_t clock_now(void)
{
	uint64_t tsc;

	/* What was measured has ended, and what comes next has not begun. */
	_mm_lfence();
	tsc = __rdtsc();
	_mm_lfence();
	return tsc;
}

double clock_since(uint64_t began)
{
	double passed = (clock_now() - began) * ns_per_tick - cost_of_reading;

	return passed > 0 ? passed : 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void clock_init(bool count)
{
	double reads[NR_READS];
	uint64_t began, tsc;
	size_t i;

	instructions = count;
	if (!count) {
		began = monotonic();
		tsc = clock_now();
		while (monotonic() - began < CALIBRATION_NS)
			;
		ns_per_tick = (double)(monotonic() - began) / (clock_now() - tsc);
	}

	for (i = 0; i < NR_READS; i++)
		reads[i] = clock_since(clock_now());
	qsort(reads, NR_READS, sizeof(reads[0]), by_value);
	cost_of_reading = reads[NR_READS / 2];
}

bool clock_is_instructions(void)
{
	return instructions;
}

const char *clock_unit(void)
{
	return instructions ? "instructions" : "ns";
}

const char *clock_accel(void)
{
	static char signature[13];
	unsigned int eax;

	__cpuid(1, eax, eax, ((unsigned int *)signature)[0], eax);
	if (!(((unsigned int *)signature)[0] & (1u << 31)))
		return "hardware";
	__cpuid(0x40000000, eax, ((unsigned int *)signature)[0],
		((unsigned int *)signature)[1], ((unsigned int *)signature)[2]);
	return !strcmp(signature, "TCGTCGTCGTCG") ? "tcg" : "virtual";
}

static double seconds(void)
{
	return monotonic() / 1e9;
}

void budget_start(struct budget *budget, double limit)
{
	budget->ends = seconds() + limit;
	budget->done = 0;
}

bool budget_left(struct budget *budget, unsigned int at_least, unsigned int at_most)
{
	/* The number of samples must not depend on the speed of the emulator. */
	if (instructions && at_most > 5)
		at_most = 5;
	if (budget->done >= at_most)
		return false;
	if (budget->done >= at_least && (instructions || seconds() > budget->ends))
		return false;
	budget->done++;
	return true;
}
