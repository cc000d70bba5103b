// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* NUMA: what decides where pages are. */
#include <linux/falloc.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#include "answers.h"

#define NODE	1

static int node_of(void *page)
{
	int node = -1;

	check(sys(syscall(SYS_get_mempolicy, &node, NULL, 0, page, MPOL_F_NODE | MPOL_F_ADDR)),
	      "get_mempolicy");
	return node;
}

static long free_kib(int node)
{
	char name[64], line[128];
	long kib = -1;
	FILE *f;

	snprintf(name, sizeof(name), "/sys/devices/system/node/node%d/meminfo", node);
	f = fopen(name, "r");
	check(f ? 0 : -errno, name);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "Node %*d MemFree: %ld", &kib);
	fclose(f);
	return kib;
}

void numa(void)
{
	const unsigned long nodes = 1ul << NODE;
	const long mib = 64;
	long before;
	bool is_right;

	make_vm(GMEM_IN_PLACE, PAGES * PAGE);
	check(sys(syscall(SYS_mbind, hva, PAGES * PAGE, MPOL_BIND, &nodes, 64, 0)), "mbind");
	memset(hva, 'n', PAGES * PAGE);
	is_right = node_of(hva) == NODE;
	check(to_private(0, PAGES), "to private");
	check(gmem_convert(ram, 0, PAGES * PAGE, GMEM_SHARED, NULL, NULL), "to shared");
	result(is_right && look(hva) == 0 && node_of(hva) == NODE,
	       "numa.in_place.mbind_on_the_mapping_decides");

	make_vm(GMEM_TWO_BACKINGS, mib << 20);
	check(sys(syscall(SYS_mbind, hva, mib << 20, MPOL_BIND, &nodes, 64, 0)), "mbind");
	hva[0] = 'n';
	result(node_of(hva) == NODE, "numa.two_backings.mbind_is_for_the_shared_half");
	check(sys(syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 64)), "set_mempolicy");
	before = free_kib(NODE);
	check(sys(fallocate(gmem_private_fd(ram), FALLOC_FL_KEEP_SIZE, 0, mib << 20)), "fallocate");
	printf("# node %d: %ld MiB less\n", NODE, (before - free_kib(NODE)) >> 10);
	result(before - free_kib(NODE) > mib * 3 / 4 << 10,
	       "numa.two_backings.private_half_is_where_the_thread_allocates");
}
