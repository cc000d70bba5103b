/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What the files of the library share; never installed. */
#ifndef GMEM_INTERNAL_H
#define GMEM_INTERNAL_H

#include <pthread.h>

#include "gmem.h"

#define API __attribute__((visibility("default")))

/*
 * The states of pages, one bit each, in chunks of as many pages as a page has bits.  A
 * chunk of one state has no bits, so a memory of one state costs a byte for each chunk.
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
	/* The next of the same memory. */
	struct binding *next;
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;
	/* Has a slot of KVM that the library has made; false: the caller's, or none. */
	bool has_slot;
	uint32_t slot;
	uint32_t slot_flags;
};

/* A listener: the caller's struct, and the library's copy of it. */
struct listening {
	struct gmem_listener *caller;
	struct gmem_listener known;
};

/*
 * What a call changes: everything, a range of guest physical addresses, offsets of a
 * memory, or both of these.  On the stack of the calling thread.
 */
struct turn {
	struct turn *next;
	bool all;
	uint64_t gpa;
	uint64_t gpa_end;
	const struct gmem *gmem;
	uint64_t offset;
	uint64_t offset_end;
};

#define FOREVER	UINT64_MAX

/* When a waiting thread gives up: at a time of now_ms(), or when *@cancel is set. */
struct patience {
	uint64_t until_ms;
	const uint32_t *cancel;
};

/*
 * A VM is the list of its bindings, sorted by gpa.  @lock protects everything in it, and is
 * not held during calls that may block.  A turn protects the states and the bindings of
 * what it touches, and the listeners.
 */
struct gmem_vm {
	int fd;
	size_t page_size;
	struct gmem_probe probe;
	/* By direction, to private is 1: what GMEM_DEFAULT stands for. */
	enum gmem_policy default_policy[2];
	/* What IN_PLACE_PLAIN asks for, by direction, so that it keeps contents. */
	uint64_t plain_policy[2];

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* In the order in which they came, including those that wait. */
	struct turn *turns;
	struct binding **bindings;
	size_t nr_bindings;
	struct listening *listeners;
	size_t nr_listeners;
};

/*
 * Files and mapping are the library's, or the caller's, who keeps them.  Without @shared_fd
 * the shared half is anonymous memory at @hva.
 */
struct gmem {
	struct gmem_vm *vm;
	uint64_t size;
	int private_fd;
	int shared_fd;
	/* The offset in @shared_fd at which the memory begins. */
	uint64_t shared_offset;
	void *hva;
	bool owns_files;
	bool owns_mapping;
	struct states states;
	/* Where it is bound, sorted by gpa; its VM's lock protects the list. */
	struct binding *bindings;
};

/*
 * A conversion, on the stack of its caller.  It counts in gpas if @gmem is NULL,
 * otherwise in offsets of @gmem.
 */
struct request {
	struct turn turn;
	struct gmem_vm *vm;
	struct gmem *gmem;
	uint64_t start;
	uint64_t end;
	bool to_private;
	enum gmem_policy policy;
	struct gmem_convert_opts opts;
	struct gmem_result result;
	struct patience patience;
	/*
	 * How far it has got, for an undo: up to which address it has converted, how many
	 * listeners have agreed to all of it, and up to which address the next one has.
	 */
	uint64_t converted;
	size_t nr_told;
	uint64_t told_until;
};

/* probe.c */

bool is_arm_protected(unsigned long vm_type, const struct gmem_probe *probe);

/* queue.c */

uint64_t now_ms(void);
/* From now on; 0 milliseconds means no limit. */
struct patience patience_of(uint32_t timeout_ms, const uint32_t *cancel);
/*
 * Wait for earlier calls that touch the same range, as long as it takes if @patience is
 * NULL.  Returns 0 with @lock held; or -ETIMEDOUT or -ECANCELED, without the lock and the
 * turn.
 */
int take_turn(struct gmem_vm *vm, struct turn *turn, const struct patience *patience);
/* 0 at that time, or -ECANCELED before.  @lock is not held. */
int sleep_until(struct gmem_vm *vm, uint64_t until_ms, const uint32_t *cancel);
/* @lock is held before. */
void end_turn(struct gmem_vm *vm, struct turn *turn);

/* request.c */

/* -EINVAL, -EOPNOTSUPP: the request can never succeed. */
int check_request(const struct request *req, uint64_t size, uint64_t attributes);
/* -ENXIO, -EPERM: what it covers cannot become private.  @lock is held. */
int check_bindings(struct request *req);
/*
 * The next part of a request from *@at on, in one memory and bound in one piece, or
 * unbound; *@at is moved to its end.  False if there is no more.  By gpa, what is in no
 * memory is skipped: it is to become shared, or check_bindings() has refused.  @lock is
 * held.
 */
bool next_part(const struct request *req, uint64_t *at, struct gmem_range *part);
/*
 * The same for pages that change, so that one part can be many ranges; or, with @gaps,
 * one range from the first page that changes to the end of the part.  @lock is not
 * held.
 */
bool next_change(const struct request *req, uint64_t *at, bool gaps, struct gmem_range *change);
/* The address of @range, as the request counts it. */
uint64_t address_of(const struct request *req, const struct gmem_range *range);
/* Returns @r, after noting where and why. */
int fail(struct request *req, enum gmem_step step, uint64_t where, int r);

/* listener.c: -errno of the one that refused; no lock is held. */

int tell(struct listening *to, const struct gmem_range *range, bool to_private);
int tell_all(struct request *req);
/*
 * Tell listeners that want to know what is shared in a binding: to take hold, or to let
 * go.  If one refuses, those that agreed are told the opposite, unless @go_on is set.
 */
int tell_binding(struct gmem_vm *vm, uint64_t gpa, uint64_t size, bool let_go, bool go_on);

/* binding.c: @lock is held */

/* The binding that contains @gpa, or the first after it, or NULL. */
const struct binding *binding_at(const struct gmem_vm *vm, uint64_t gpa);
/*
 * The binding of @gmem that contains @offset, or NULL; then *@end, which is above
 * @offset, is lowered to where the next binding begins.
 */
const struct binding *binding_of(const struct gmem *gmem, uint64_t offset, uint64_t *end);
/* -EEXIST: there is no room for @new. */
int binding_check(const struct gmem_vm *vm, const struct binding *new);
/* -ENOMEM. */
int binding_insert(struct gmem_vm *vm, const struct binding *new);
/* The binding that contains @gpa. */
void binding_erase(struct gmem_vm *vm, uint64_t gpa);
/* From @offset to where its state ends, but not beyond @end. */
void look(struct gmem *gmem, uint64_t offset, uint64_t end, uint64_t gpa,
	  struct gmem_range *range);

/* memory.c */

/* A memory without files; -EINVAL: @size or @attributes; -ENOMEM. */
int new_memory(struct gmem_vm *vm, uint64_t size, uint64_t attributes, struct gmem **gmem);
/* A memory that is bound nowhere. */
void free_memory(struct gmem *gmem);
/* Make one of the halves read zeros and take no memory; in place there is only one. */
int discard(const struct gmem *gmem, bool shared_half, uint64_t offset, uint64_t size);
/* The same, but if it cannot be given back, it only reads zeros. */
int clear(const struct gmem *gmem, bool shared_half, uint64_t offset, uint64_t size);

/* verify.c */

/*
 * The next range from *@at on that is bound in one piece, or not at all, and whose state in
 * the kernel differs from the library's; *@at is moved to its end.  Returns 1, 0 at the
 * end, or -errno.  @lock is not held.
 */
int next_difference(struct gmem *gmem, uint64_t *at, struct gmem_range *difference);
void take_difference(const struct gmem_range *difference);

/* kernel.c: system calls.  They return -errno, 0 or a descriptor; never -EINTR. */

/* Any ioctl. */
int call(int fd, unsigned long request, void *arg);
int create_guest_memfd(int vm_fd, uint64_t size, uint64_t flags);
int set_attributes_in_place(int fd, uint64_t start, uint64_t size, bool to_private,
			    uint64_t policy, uint64_t *where);
/*
 * Whether the page at @offset is private, and in *@size how many bytes from there on are the
 * same.  -EOPNOTSUPP: the kernel cannot be asked.
 */
int get_attributes_in_place(int fd, uint64_t offset, uint64_t *size, bool *is_private);
int set_attributes_of_vm(int vm_fd, uint64_t gpa, uint64_t size, bool to_private);
/* A @size of 0 deletes it. */
int set_slot(int vm_fd, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva,
	     int fd, uint64_t offset);
int punch_hole(int fd, uint64_t offset, uint64_t size);
/* The same for a mapping of any kind. */
int discard_mapping(void *hva, uint64_t size);

/* structs.c: structs that carry their size */

/* -EINVAL: the caller has set no size; -E2BIG: the size makes no sense. */
int check_struct(const void *of_caller);
/*
 * take_struct() copies the caller's struct to one of @known bytes, with absent members
 * 0; it returns the errors of check_struct(), and -E2BIG if a member that is not known
 * here is set.  give_struct() fills in as much as the caller has room for, after
 * check_struct().
 */
int take_struct(void *to, const void *from, size_t known);
void give_struct(void *to, const void *from, size_t known);

#endif
