// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Peak memory of a guest that shares a part of its pages once and takes them back,
 * according to its memory cgroup: page cache, page tables, tracking, everything
 * that was charged since before the guest had memory.
 */
#include <sys/mman.h>

#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define SIZE		(256 * MIB)
#define CHUNK		(2 * MIB)
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE

struct run {
	enum way way;
	unsigned int percent;
	uint64_t peak;
};

static void share_and_take_back(void *arg)
{
	struct run *run = arg;
	uint64_t before, offset, part = SIZE / 100 * run->percent / CHUNK * CHUNK;
	struct memory memory;
	struct guest guest;

	if (run->percent == 100)
		part = SIZE;
	guest_create(&guest, 1);
	memory_create(&memory, &guest, run->way, SLOT, GUEST_GPA, SIZE, false);
	before = cgroup_current();
	memory_guest_touch(&memory, 0, SIZE);

	for (offset = 0; offset < part; offset += CHUNK) {
		memory_convert(&memory, offset, CHUNK, false, PRESERVE);
		memory_host_touch(&memory, offset, CHUNK);
	}
	for (offset = 0; offset < part; offset += CHUNK) {
		memory_convert(&memory, offset, CHUNK, true, PRESERVE);
		memory_guest_touch(&memory, offset, CHUNK);
	}
	run->peak = cgroup_peak() - before;
}

static void run(void)
{
	static const unsigned int percents[] = { 0, 25, 50, 100 };
	struct run *seen = mmap(NULL, BENCH_PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	size_t i;
	int way;

	if (seen == MAP_FAILED)
		die("mmap");
	for (i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		for (way = NEW; way <= OLD_KEEP; way++) {
			struct key key = {
				.measure = "peak", .way = way_names[way], .direction = "-",
				.policy = way == NEW ? "preserve" : "-", .touched = "-",
				.unit = "bytes", .bytes = SIZE, .count = percents[i],
			};

			*seen = (struct run){ .way = way, .percent = percents[i] };
			in_cgroup(share_and_take_back, seen);
			record(&key, seen->peak);
		}
	}
	munmap(seen, BENCH_PAGE);
}

const struct bench bench_peak = {
	.name = "peak",
	.help = "peak memory of a guest of 256 MiB that shares 0 to 100 % once",
	.run = run,
};
