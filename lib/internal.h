/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What the files of the library share; never installed. */
#ifndef GMEM_INTERNAL_H
#define GMEM_INTERNAL_H

#include <pthread.h>

#include "gmem.h"

#define API __attribute__((visibility("default")))

/*
 * Who has which page, one bit each, in chunks of as many pages as a page has bits.  A
 * chunk of one state has no bits, so a memory of one state costs a byte per chunk.
 * Nothing here allocates after states_init(); the kernel gives pages for bits when they
 * are written.
 */
struct states {
	uint8_t *chunks;
	uint64_t *bits;
	uint64_t nr_pages;
	uint64_t nr_chunks;
	size_t page_size;
};

int states_init(struct states *states, uint64_t nr_pages, size_t page_size, bool is_private);
void states_exit(struct states *states);
bool states_is_private(const struct states *states, uint64_t page);
/* The first page in [start, end) that is @is_private, or @end. */
uint64_t states_find(const struct states *states, uint64_t start, uint64_t end, bool is_private);
void states_set(struct states *states, uint64_t start, uint64_t end, bool is_private);

/* [gpa, gpa + size) is bound to @gmem, or excluded if that is NULL. */
struct binding {
	struct gmem *gmem;
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;
	uint32_t slot;
};

struct request;

/*
 * A VM is the list of its bindings, sorted by gpa.  @lock protects everything in it.  A
 * conversion holds it briefly and never while it calls something that may block; bind and
 * unbind hold it while the kernel makes or deletes a slot, with no conversion under way.
 * What stays while one is: the bindings, as changing them waits for @requests to be empty;
 * the states of the range, as @requests has it.
 */
struct gmem_vm {
	int fd;
	size_t page_size;
	struct gmem_probe probe;
	/* What IN_PLACE_PLAIN asks for, so that it keeps contents; by direction. */
	uint64_t plain_policy[2];

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct request *requests;
	/* Who waits for @requests to be empty; new ones wait for them. */
	unsigned int nr_waiting;
	struct binding *bindings;
	size_t nr_bindings;
	struct gmem_listener **listeners;
	size_t nr_listeners;
};

struct gmem {
	struct gmem_vm *vm;
	uint64_t size;
	int private_fd;
	int shared_fd;
	void *hva;
	struct states states;
};

/*
 * A conversion, on the stack of its caller.  It counts in gpas if @gmem is NULL, else in
 * offsets of @gmem.
 */
struct request {
	struct request *next;
	struct gmem_vm *vm;
	struct gmem *gmem;
	uint64_t start;
	uint64_t end;
	bool to_private;
	enum gmem_policy policy;
	struct gmem_convert_opts opts;
	struct gmem_result result;
	uint64_t began_ms;
	/* How far it is, for an undo: up to where converted, and how often a listener agreed. */
	uint64_t converted;
	size_t told;
};

/* binding.c */

/*
 * Wait until no conversion is under way; those that come later wait.  @lock is held then,
 * and before.
 */
void wait_for_conversions(struct gmem_vm *vm);
/* The binding that @gpa is in, or the first behind it, or NULL. */
const struct binding *binding_at(const struct gmem_vm *vm, uint64_t gpa);
/*
 * What is bound of @gmem around @offset, or NULL; then *@end, which is behind @offset, is
 * lowered to where the next binding begins.
 */
const struct binding *binding_of(const struct gmem *gmem, uint64_t offset, uint64_t *end);
/* Unbind @gmem everywhere.  -errno: a VM that lives, so no -EIO, has a slot of it still. */
int unbind_all(struct gmem *gmem);

/* kernel.c: the calls of the kernel.  -errno, else 0 or a descriptor; never -EINTR. */

int create_guest_memfd(int vm_fd, uint64_t size, uint64_t flags);
int set_attributes_in_place(int fd, uint64_t start, uint64_t size, bool to_private,
			    uint64_t policy, uint64_t *where);
int set_attributes_of_vm(int vm_fd, uint64_t gpa, uint64_t size, bool to_private);
int set_slot(int vm_fd, uint32_t slot, uint64_t gpa, uint64_t size, void *hva, int fd,
	     uint64_t offset);
int punch_hole(int fd, uint64_t offset, uint64_t size);

/*
 * Structs that carry their size.  take_struct() copies what the caller filled to one of
 * @known bytes, absent members 0: -EINVAL without a size, -E2BIG if a member that is
 * not known here is set.  give_struct() fills as much as the caller has room for.
 */
int take_struct(void *to, const void *from, size_t known);
void give_struct(void *to, const void *from, size_t known);

#endif
