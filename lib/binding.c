// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What the guest has where: slots, ranges that cannot be converted, and lookups. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void wait_for_conversions(struct gmem_vm *vm)
{
	vm->nr_waiting++;
	while (vm->requests)
		pthread_cond_wait(&vm->changed, &vm->lock);
	vm->nr_waiting--;
	pthread_cond_broadcast(&vm->changed);
}

/* How many bindings end at or before @gpa: where one for it is, or belongs. */
static size_t position(const struct gmem_vm *vm, uint64_t gpa)
{
	size_t low = 0, high = vm->nr_bindings, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (vm->bindings[middle].gpa + (vm->bindings[middle].size - 1) < gpa)
			low = middle + 1;
		else
			high = middle;
	}

	return low;
}

const struct binding *binding_at(const struct gmem_vm *vm, uint64_t gpa)
{
	size_t i = position(vm, gpa);

	return i < vm->nr_bindings ? &vm->bindings[i] : NULL;
}

const struct binding *binding_of(const struct gmem *gmem, uint64_t offset, uint64_t *end)
{
	const struct binding *b = gmem->vm->bindings, *last = b + gmem->vm->nr_bindings;

	for (; b < last; b++) {
		if (b->gmem != gmem)
			continue;
		if (offset >= b->offset && offset - b->offset < b->size)
			return b;
		if (b->offset > offset && b->offset < *end)
			*end = b->offset;
	}

	return NULL;
}

/* Is there room for @new?  A page of a memory is bound once, so that it has one gpa. */
static int check_room(const struct gmem_vm *vm, const struct binding *new)
{
	const struct binding *b = vm->bindings, *last = b + vm->nr_bindings;

	for (; b < last; b++) {
		if (new->gpa < b->gpa + b->size && b->gpa < new->gpa + new->size)
			return -EEXIST;
		if (!new->gmem || !b->gmem)
			continue;
		if (new->slot == b->slot)
			return -EEXIST;
		if (new->gmem == b->gmem && new->offset < b->offset + b->size &&
		    b->offset < new->offset + new->size)
			return -EEXIST;
	}

	return 0;
}

/*
 * With two backings the VM's attributes say who is private, by gpa.  Outside of bindings
 * everything is shared, so that a slot which the library does not know works.  Shared
 * ranges are set as well, in case an unbinding could not; KVM sees when nothing changes.
 */
static int set_attributes(const struct binding *b, bool bind)
{
	struct gmem_vm *vm = b->gmem->vm;
	uint64_t page = b->offset / vm->page_size, end = page + b->size / vm->page_size, stop;
	bool is_private;
	int r;

	if (vm->probe.mechanism != GMEM_TWO_BACKINGS)
		return 0;

	for (; page < end; page = stop) {
		is_private = states_is_private(&b->gmem->states, page);
		stop = states_find(&b->gmem->states, page, end, !is_private);
		r = set_attributes_of_vm(vm->fd, b->gpa + (page * vm->page_size - b->offset),
					 (stop - page) * vm->page_size, bind && is_private);
		if (r)
			return r;
	}

	return 0;
}

static int insert(struct gmem_vm *vm, const struct binding *new)
{
	size_t i = position(vm, new->gpa);
	struct binding *bindings;

	bindings = realloc(vm->bindings, (vm->nr_bindings + 1) * sizeof(*bindings));
	if (!bindings)
		return -ENOMEM;

	vm->bindings = bindings;
	memmove(bindings + i + 1, bindings + i, (vm->nr_bindings - i) * sizeof(*bindings));
	bindings[i] = *new;
	vm->nr_bindings++;
	return 0;
}

static void erase(struct gmem_vm *vm, size_t i)
{
	vm->nr_bindings--;
	memmove(vm->bindings + i, vm->bindings + i + 1,
		(vm->nr_bindings - i) * sizeof(*vm->bindings));
}

static bool is_range(const struct gmem_vm *vm, uint64_t start, uint64_t size)
{
	return size && !(start % vm->page_size) && !(size % vm->page_size) && start + size > start;
}

API int gmem_bind(struct gmem *gmem, uint32_t slot, uint64_t gpa, uint64_t offset, uint64_t size)
{
	struct binding new = {
		.gmem = gmem, .slot = slot, .gpa = gpa, .offset = offset, .size = size,
	};
	struct gmem_vm *vm = gmem->vm;
	void *hva;
	int r;

	if (!is_range(vm, gpa, size) || !is_range(vm, offset, size) || offset + size > gmem->size)
		return -EINVAL;
	r = gmem_map(gmem, &hva);
	if (r)
		return r;

	pthread_mutex_lock(&vm->lock);
	wait_for_conversions(vm);
	r = check_room(vm, &new);
	if (!r)
		r = insert(vm, &new);
	if (r)
		goto out_unlock;

	/* Before there is a slot, so that no vCPU meets the wrong half. */
	r = set_attributes(&new, true);
	if (!r)
		r = set_slot(vm->fd, slot, gpa, size, (char *)hva + offset, gmem->private_fd,
			     offset);
	if (r) {
		set_attributes(&new, false);
		erase(vm, position(vm, gpa));
	}

out_unlock:
	pthread_mutex_unlock(&vm->lock);
	return r;
}

API int gmem_exclude(struct gmem_vm *vm, uint64_t gpa, uint64_t size)
{
	struct binding new = { .gpa = gpa, .size = size };
	int r;

	if (!is_range(vm, gpa, size))
		return -EINVAL;

	pthread_mutex_lock(&vm->lock);
	wait_for_conversions(vm);
	r = check_room(vm, &new);
	if (!r)
		r = insert(vm, &new);
	pthread_mutex_unlock(&vm->lock);

	return r;
}

/* @lock is held, no conversion is under way. */
static int remove_binding(struct gmem_vm *vm, size_t i)
{
	struct binding b = vm->bindings[i];
	int r = 0;

	if (b.gmem) {
		r = set_slot(vm->fd, b.slot, b.gpa, 0, NULL, -1, 0);
		if (r)
			return r;
		/* Fails for want of memory at most, where there was a slot before. */
		set_attributes(&b, false);
	}
	erase(vm, i);
	return 0;
}

API int gmem_unbind(struct gmem_vm *vm, uint64_t gpa)
{
	int r = -ENXIO;
	size_t i;

	pthread_mutex_lock(&vm->lock);
	wait_for_conversions(vm);
	i = position(vm, gpa);
	if (i < vm->nr_bindings && vm->bindings[i].gpa == gpa)
		r = remove_binding(vm, i);
	pthread_mutex_unlock(&vm->lock);

	return r;
}

int unbind_all(struct gmem *gmem)
{
	struct gmem_vm *vm = gmem->vm;
	int r, error = 0;
	size_t i;

	pthread_mutex_lock(&vm->lock);
	wait_for_conversions(vm);
	for (i = vm->nr_bindings; i-- > 0; ) {
		if (vm->bindings[i].gmem != gmem)
			continue;
		r = remove_binding(vm, i);
		if (!r)
			continue;
		/* A slot that KVM does not give back is forgotten all the same. */
		erase(vm, i);
		if (r != -EIO)
			error = r;
	}
	pthread_mutex_unlock(&vm->lock);

	return error;
}

/* From @offset to where its state ends, @end at the latest.  @lock is held. */
static void look(struct gmem *gmem, uint64_t offset, uint64_t end, uint64_t gpa,
		 struct gmem_range *range)
{
	size_t page_size = gmem->vm->page_size;
	uint64_t page = offset / page_size;
	bool is_private = states_is_private(&gmem->states, page);

	end = states_find(&gmem->states, page, end / page_size, !is_private) * page_size;
	*range = (struct gmem_range){
		.gmem = gmem,
		.offset = offset,
		.size = end - offset,
		.gpa = gpa,
		.attributes = is_private ? GMEM_PRIVATE : GMEM_SHARED,
	};
}

API int gmem_lookup(struct gmem *gmem, uint64_t offset, struct gmem_range *range)
{
	uint64_t end = gmem->size, gpa = GMEM_NO_GPA;
	const struct binding *b;

	if (offset >= gmem->size || offset % gmem->vm->page_size)
		return -EINVAL;

	pthread_mutex_lock(&gmem->vm->lock);
	b = binding_of(gmem, offset, &end);
	if (b) {
		end = b->offset + b->size;
		gpa = b->gpa + (offset - b->offset);
	}
	look(gmem, offset, end, gpa, range);
	pthread_mutex_unlock(&gmem->vm->lock);

	return 0;
}

API int gmem_lookup_gpa(struct gmem_vm *vm, uint64_t gpa, struct gmem_range *range)
{
	const struct binding *b;
	int r = 0;

	if (gpa % vm->page_size)
		return -EINVAL;

	pthread_mutex_lock(&vm->lock);
	b = binding_at(vm, gpa);
	if (!b || gpa < b->gpa)
		r = -ENXIO;
	else if (!b->gmem)
		r = -EPERM;
	else
		look(b->gmem, b->offset + (gpa - b->gpa), b->offset + b->size, gpa, range);
	pthread_mutex_unlock(&vm->lock);

	return r;
}
