// SPDX-License-Identifier: GPL-2.0
/*
 * Pages stay where the mapping's NUMA policy had them allocated.  Attempts to move them, to
 * compact memory or to offline a page make no conversion fail.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/mempolicy.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "numaif.h"

GMEM_FIXTURE(migration, GMEM_PAGES)

FIXTURE(numa) {
	struct gmem_vm g;
};

FIXTURE_SETUP(numa)
{
	if (!is_multi_numa_node_system())
		SKIP(exit(KSFT_SKIP), "needs two NUMA nodes");
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(numa)
{
	gmem_vm_destroy(&self->g);
}

#define MAX_NODE	(8 * sizeof(unsigned long))

static void bind_pages(struct gmem_vm *g, u64 page, u64 nr, int mode, unsigned long nodes)
{
	kvm_mbind(g->mem + page * PAGE_SIZE, nr * PAGE_SIZE, mode, nodes ? &nodes : NULL,
		  nodes ? MAX_NODE : 0, 0);
}

/* The node of a page that is shared and present. */
static int node_of(struct gmem_vm *g, u64 page)
{
	void *hva = g->mem + page * PAGE_SIZE;
	int status;

	READ_ONCE(*(u8 *)hva);
	kvm_move_pages(0, 1, &hva, NULL, &status, 0);

	return status;
}

static void expect_nodes(struct gmem_vm *g, u64 page, u64 nr, int node)
{
	u64 i;

	for (i = page; i < page + nr; i++)
		TEST_ASSERT(node_of(g, i) == node, "Page %lu is on node %d, should be on %d",
			    i, node_of(g, i), node);
}

/* Whoever faults the page in, and whatever its state. */
TEST_F(numa, policy_of_the_mapping_decides_on_the_node)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	bind_pages(g, 0, GMEM_HALF, MPOL_BIND, BIT(1));
	bind_pages(g, GMEM_HALF, GMEM_HALF, MPOL_BIND, BIT(0));
	gmem_convert(g, 1, GMEM_PAGES - 2, PRIVATE, ANY_TO_PRIVATE);

	for (i = 0; i < GMEM_PAGES; i += 2)
		guest_write(g, i, letter(i));
	host_write(g, GMEM_PAGES - 1, 'h');
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGES * PAGE_SIZE);

	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	expect_nodes(g, 0, GMEM_HALF, 1);
	expect_nodes(g, GMEM_HALF, GMEM_HALF, 0);
	for (i = 0; i < GMEM_PAGES; i += 2)
		TEST_ASSERT_EQ(host_read(g, i), letter(i));
}

TEST_F(numa, interleaved_pages_are_spread_over_the_nodes)
{
	struct gmem_vm *g = &self->g;
	int on_node[2] = {};
	u64 i;

	bind_pages(g, 0, GMEM_PAGES, MPOL_INTERLEAVE, BIT(0) | BIT(1));
	write_letters(g);
	for (i = 0; i < GMEM_PAGES; i++) {
		int node = node_of(g, i);

		TEST_ASSERT(node == 0 || node == 1, "Page %lu is on node %d", i, node);
		on_node[node]++;
	}
	TEST_ASSERT_EQ(on_node[0], GMEM_HALF);
	TEST_ASSERT_EQ(on_node[1], GMEM_HALF);
	expect_letters_and_no_holder(g);
}

/* A policy is for future pages: existing ones stay until they are punched out. */
TEST_F(numa, conversions_keep_the_node)
{
	struct gmem_vm *g = &self->g;
	u64 policy, i;

	bind_pages(g, 0, GMEM_PAGES, MPOL_BIND, BIT(1));
	write_letters(g);
	expect_nodes(g, 0, GMEM_PAGES, 1);

	bind_pages(g, 0, GMEM_PAGES, MPOL_BIND, BIT(0));
	for (policy = ZERO; policy <= NONE; policy++) {
		gmem_convert(g, 0, GMEM_PAGES, PRIVATE,
			     policy_works(PRIVATE, policy) ? policy : ANY_TO_PRIVATE);
		for (i = 0; i < GMEM_HALF; i++)
			guest_read(g, i);
		gmem_convert(g, 0, GMEM_PAGES, SHARED, policy);
		expect_nodes(g, 0, GMEM_PAGES, 1);
	}

	punch_hole(g, 0, GMEM_HALF);
	expect_nodes(g, 0, GMEM_HALF, 0);
	expect_nodes(g, GMEM_HALF, GMEM_HALF, 1);
}

/* Asks to move each page; a status that is a node would mean success. */
static void try_to_move(struct gmem_vm *g, int to_node)
{
	int nodes[GMEM_PAGES], status[GMEM_PAGES];
	void *pages[GMEM_PAGES];
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++) {
		pages[i] = g->mem + i * PAGE_SIZE;
		nodes[i] = to_node;
	}
	(void)move_pages(0, GMEM_PAGES, pages, nodes, status, MPOL_MF_MOVE_ALL);
}

TEST_F(numa, pages_do_not_move)
{
	unsigned long from = BIT(0), to = BIT(1);
	struct gmem_vm *g = &self->g;
	u64 pfn[GMEM_PAGES], i;

	bind_pages(g, 0, GMEM_PAGES, MPOL_BIND, from);
	write_letters(g);
	for (i = 0; i < GMEM_PAGES; i++)
		pfn[i] = pfn_of(g, i);

	try_to_move(g, 1);
	(void)migrate_pages(0, MAX_NODE, &from, &to);
	(void)mbind(g->mem, GMEM_PAGES * PAGE_SIZE, MPOL_BIND, &to, MAX_NODE,
		    MPOL_MF_MOVE_ALL);

	/* The attempts left no reference behind, either. */
	expect_letters_and_no_holder(g);
	expect_nodes(g, 0, GMEM_PAGES, 0);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(pfn_of(g, i), pfn[i]);
}

/* A thread that tries to move the pages, in a loop. */
struct mover {
	struct gmem_vm *g;
	u64 nr_done;
	bool stop;
};

static void *keep_moving(void *data)
{
	struct mover *m = data;

	while (!READ_ONCE(m->stop)) {
		try_to_move(m->g, m->nr_done % 2);
		WRITE_ONCE(m->nr_done, m->nr_done + 1);
	}

	return NULL;
}

static void *keep_compacting(void *data)
{
	struct mover *m = data;

	while (!READ_ONCE(m->stop)) {
		TEST_ASSERT(!write_file("/proc/sys/vm/compact_memory", "1"),
			    "Cannot compact memory");
		WRITE_ONCE(m->nr_done, m->nr_done + 1);
	}

	return NULL;
}

#define MOVE_ROUNDS	100

static void convert_beside(struct gmem_vm *g, void *(*move)(void *))
{
	struct mover m = { .g = g };
	pthread_t thread;
	u64 round, done;

	write_letters(g);
	kvm_pthread_create(&thread, NULL, move, &m);
	for (round = 0; round < MOVE_ROUNDS; round++) {
		show_progress("rounds", round, MOVE_ROUNDS);
		gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
		gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
		TEST_ASSERT_EQ(host_read(g, round % GMEM_PAGES), letter(round % GMEM_PAGES));

		/* Let the other thread run. */
		done = READ_ONCE(m.nr_done);
		while (round % 10 == 0 && READ_ONCE(m.nr_done) == done)
			usleep(100);
	}
	WRITE_ONCE(m.stop, true);
	kvm_pthread_join(thread, NULL);
	expect_letters_and_no_holder(g);
}

TEST_F(numa, moving_pages_does_not_refuse_conversions)
{
	convert_beside(&self->g, keep_moving);
}

TEST_F(migration, compaction_does_not_refuse_conversions)
{
	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "needs root and CONFIG_COMPACTION");
	convert_beside(&self->g, keep_compacting);
}

TEST_F(migration, soft_offlined_pages_stay_and_keep_their_bytes)
{
	struct gmem_vm *g = &self->g;
	u64 pfn[GMEM_PAGES], i;
	int r;

	write_letters(g);
	for (i = 0; i < GMEM_PAGES; i++)
		pfn[i] = pfn_of(g, i);

	for (i = 0; i < GMEM_PAGES; i++) {
		r = madvise(g->mem + i * PAGE_SIZE, PAGE_SIZE, MADV_SOFT_OFFLINE) ? errno : 0;
		if (r == EINVAL || r == EPERM)
			SKIP(return, "needs root and CONFIG_MEMORY_FAILURE");
		TEST_ASSERT(r, "Page %lu was taken out of use", i);
	}

	expect_letters_and_no_holder(g);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(pfn_of(g, i), pfn[i]);
}

TEST_HARNESS_MAIN
