/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * gmem bench: what the measurements share.  Each is a struct bench in its own
 * file; it prepares, measures and records, and leaves the judgement to
 * targets.c.
 */
#ifndef GMEM_BENCH_H
#define GMEM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../common/die.h"
#include "kvm_abi.h"

#define KIB		(1ull << 10)
#define MIB		(1ull << 20)
#define GIB		(1ull << 30)
#define TIB		(1ull << 40)
#define BENCH_PAGE	4096ull

struct bench {
	const char *name;
	const char *help;
	void (*run)(void);
	/* Meaningful on one CPU whose clock counts instructions. */
	bool countable;
	/* Meaningless in time. */
	bool only_counted;
	/* Records nothing, so it is not part of a run of all cases. */
	bool on_request;
};

extern const struct bench bench_floors, bench_conversion, bench_round_trip,
	bench_cells, bench_mixed, bench_pattern, bench_tracking, bench_peak, bench_scaling,
	bench_beside, bench_device, bench_profile;

/*
 * The clock: nanoseconds, or instructions if the emulator's TSC counts them.
 * clock_since() subtracts the cost of reading it.
 */
void clock_init(bool instructions);
bool clock_is_instructions(void);
const char *clock_unit(void);
/* "tcg" for QEMU's emulator, "hardware", or "virtual" for anything between. */
const char *clock_accel(void);
uint64_t clock_now(void);
double clock_since(uint64_t began);

/*
 * What a sample measures.  Strings are constants, "-" if not applicable.  @count is
 * the number of threads, processes or vCPUs; for "peak", the percentage that was
 * shared; for "fragmented" and "defragment", the number of private pages.
 */
struct key {
	const char *measure;
	const char *way;
	const char *direction;
	const char *policy;
	const char *touched;
	const char *unit;
	uint64_t bytes;
	unsigned int count;
};

void record(const struct key *key, double value);
size_t record_nr(const struct key *key);
/* Quantile @q of 0 to 1, NAN without samples. */
double record_quantile(const struct key *key, double q);
#define record_median(key) record_quantile(key, 0.5)
void record_csv(FILE *to);
void record_json(FILE *to);
void record_print(void);

/* Seconds that a series of samples may take, and the smallest number of samples. */
struct budget {
	double ends;
	unsigned int done;
};

void budget_start(struct budget *budget, double seconds);
bool budget_left(struct budget *budget, unsigned int at_least, unsigned int at_most);

/*
 * A guest in flat 32-bit mode without paging.  Its code is in a page of
 * ordinary memory; it writes one word in each page that it is told to touch.
 */
#define GUEST_VCPUS	4

struct guest {
	int kvm;
	int fd;
	int vcpus[GUEST_VCPUS];
	unsigned int nr_vcpus;
	uint8_t *code;
};

void guest_create(struct guest *guest, unsigned int nr_vcpus);
void guest_destroy(struct guest *guest);
void guest_touch(struct guest *guest, unsigned int vcpu, uint64_t gpa, uint64_t size);
/* Aim vCPU 0: each guest_run() touches these pages, by KVM_RUN and nothing else. */
void guest_aim(struct guest *guest, uint64_t gpa, uint64_t size);
void guest_run(struct guest *guest);

/*
 * Memory of a guest, in place or in two halves.  In halves, the guest_memfd is as
 * on a stock kernel and the shared half is a memfd; OLD discards the half that is
 * not in use, as VMMs do, and OLD_KEEP does not.
 */
enum way { NEW, OLD, OLD_KEEP };

struct memory {
	enum way way;
	struct guest *guest;
	unsigned int slot;
	uint64_t gpa;
	uint64_t size;
	int fd;
	int shared_fd;
	uint8_t *host;
};

extern const char *const way_names[];
extern const char *const policy_names[];

#define NO_SLOT	~0u

void memory_create(struct memory *memory, struct guest *guest, enum way way,
		   unsigned int slot, uint64_t gpa, uint64_t size, bool shared);
void memory_destroy(struct memory *memory);
void memory_bind(struct memory *memory);
void memory_unbind(struct memory *memory);
/* As a VMM does it; @policy is for NEW. */
void memory_convert(struct memory *memory, uint64_t offset, uint64_t size,
		    bool to_private, uint64_t policy);
/* Like memory_convert(), but returns 0 or the errno. */
int memory_try_convert(struct memory *memory, uint64_t offset, uint64_t size,
		       bool to_private, uint64_t policy);
/* Give all memory back and make [0, size) private or shared. */
void memory_reset(struct memory *memory, uint64_t size, bool is_private);
void memory_host_touch(struct memory *memory, uint64_t offset, uint64_t size);
void memory_guest_touch(struct memory *memory, uint64_t offset, uint64_t size);

/* Run in a memory cgroup of its own, in a child; its charges in bytes. */
void in_cgroup(void (*run)(void *), void *arg);
uint64_t cgroup_current(void);
uint64_t cgroup_peak(void);
uint64_t cgroup_kernel(void);

/* The table at the end of a run: reached, missed, or not measured. */
int targets_print(void);

#endif
