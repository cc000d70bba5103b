// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What the guest has where: slots, ranges that cannot be converted, and lookups. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

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
 * With two backings the VM's attributes say which pages are private, by gpa.  Outside of
 * bindings everything is shared, so that a slot which the library does not know works.  Shared
 * ranges are set as well, in case an unbinding could not; KVM sees when nothing changes.
 */
static int set_attributes(const struct binding *b, bool bind)
{
	struct gmem_vm *vm = b->gmem->vm;
	uint64_t end = b->offset + b->size;
	struct gmem_range range = { .struct_size = sizeof(range), .offset = b->offset };
	int r = 0;

	if (vm->probe.mechanism != GMEM_TWO_BACKINGS)
		return 0;

	for (; !r && range.offset < end; range.offset += range.size) {
		pthread_mutex_lock(&vm->lock);
		look(b->gmem, range.offset, end, b->gpa + (range.offset - b->offset), &range);
		pthread_mutex_unlock(&vm->lock);
		r = set_attributes_of_vm(vm->fd, range.gpa, range.size,
					 bind && range.attributes == GMEM_PRIVATE);
	}

	return r;
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

/* @b is in the list, and nobody else touches what it covers. */
static int make_slot(const struct binding *b)
{
	struct gmem_vm *vm = b->gmem->vm;
	int r;

	/* Before there is a slot, so that no vCPU meets the wrong half. */
	r = set_attributes(b, true);
	if (r)
		goto undo_attributes;
	r = tell_binding(vm, b->gpa, b->size, false, false);
	if (r)
		goto undo_attributes;
	/* The last, as KVM may not give a slot back. */
	r = set_slot(vm->fd, b->slot, b->gpa, b->size, (char *)b->gmem->hva + b->offset,
		     b->gmem->private_fd, b->offset);
	if (!r)
		return 0;

	tell_binding(vm, b->gpa, b->size, true, true);
undo_attributes:
	set_attributes(b, false);
	return r;
}

API int gmem_bind(struct gmem *gmem, uint32_t slot, uint64_t gpa, uint64_t offset, uint64_t size)
{
	struct binding new = {
		.gmem = gmem, .slot = slot, .gpa = gpa, .offset = offset, .size = size,
	};
	struct turn turn = {
		.gpa = gpa, .gpa_end = gpa + size,
		.gmem = gmem, .offset = offset, .offset_end = offset + size,
	};
	struct gmem_vm *vm = gmem->vm;
	void *hva;
	int r;

	if (!is_range(vm, gpa, size) || !is_range(vm, offset, size) || offset + size > gmem->size)
		return -EINVAL;
	r = gmem_map(gmem, &hva);
	if (r)
		return r;

	take_turn(vm, &turn);
	r = check_room(vm, &new);
	if (!r)
		r = insert(vm, &new);
	if (!r) {
		pthread_mutex_unlock(&vm->lock);
		r = make_slot(&new);
		pthread_mutex_lock(&vm->lock);
		if (r)
			erase(vm, position(vm, gpa));
	}
	end_turn(vm, &turn);

	return r;
}

API int gmem_exclude(struct gmem_vm *vm, uint64_t gpa, uint64_t size)
{
	struct turn turn = { .gpa = gpa, .gpa_end = gpa + size };
	struct binding new = { .gpa = gpa, .size = size };
	int r;

	if (!is_range(vm, gpa, size))
		return -EINVAL;

	take_turn(vm, &turn);
	r = check_room(vm, &new);
	if (!r)
		r = insert(vm, &new);
	end_turn(vm, &turn);

	return r;
}

/*
 * @lock is held, and let go of on the way; the turn covers the binding.  @forced: a listener
 * that refuses does not keep it.
 */
static int remove_binding(struct gmem_vm *vm, const struct binding *b, bool forced)
{
	struct binding old = *b;
	int r = 0;

	if (old.gmem) {
		pthread_mutex_unlock(&vm->lock);
		r = tell_binding(vm, old.gpa, old.size, true, forced);
		if (!r || forced) {
			r = set_slot(vm->fd, old.slot, old.gpa, 0, NULL, -1, 0);
			/* Fails for want of memory at most, where there was a slot before. */
			if (!r)
				set_attributes(&old, false);
			/* The guest has it still; what is forgotten nobody could let go of later. */
			else if (!forced)
				tell_binding(vm, old.gpa, old.size, false, true);
		}
		pthread_mutex_lock(&vm->lock);
	}
	if (!r)
		erase(vm, position(vm, old.gpa));
	return r;
}

API int gmem_unbind(struct gmem_vm *vm, uint64_t gpa)
{
	const struct binding *b;
	bool again = true;
	int r = 0;

	/* A larger one may have been bound there while this one waited. */
	while (again) {
		struct turn turn = { .gpa = gpa };

		pthread_mutex_lock(&vm->lock);
		b = binding_at(vm, gpa);
		turn.gpa_end = b && b->gpa == gpa ? gpa + b->size : gpa + 1;
		pthread_mutex_unlock(&vm->lock);

		take_turn(vm, &turn);
		b = binding_at(vm, gpa);
		again = b && b->gpa == gpa && gpa + b->size > turn.gpa_end;
		if (!b || b->gpa != gpa)
			r = -ENXIO;
		else if (!again)
			r = remove_binding(vm, b, false);
		end_turn(vm, &turn);
	}

	return r;
}

int unbind_all(struct gmem *gmem)
{
	struct turn turn = { .gmem = gmem, .offset_end = gmem->size };
	struct gmem_vm *vm = gmem->vm;
	const struct binding *b;
	uint64_t gpa = 0;
	int r, error = 0;

	take_turn(vm, &turn);
	/* Others may bind and unbind meanwhile, so by address. */
	while ((b = binding_at(vm, gpa))) {
		gpa = b->gpa + b->size;
		if (b->gmem != gmem)
			continue;
		r = remove_binding(vm, b, true);
		if (!r)
			continue;
		/* A slot that KVM does not give back is forgotten all the same. */
		erase(vm, position(vm, gpa - 1));
		if (r != -EIO)
			error = r;
	}
	end_turn(vm, &turn);

	return error;
}

void look(struct gmem *gmem, uint64_t offset, uint64_t end, uint64_t gpa,
	  struct gmem_range *range)
{
	size_t page_size = gmem->vm->page_size;
	uint64_t page = offset / page_size;
	bool is_private = states_is_private(&gmem->states, page);

	end = states_find(&gmem->states, page, end / page_size, !is_private) * page_size;
	*range = (struct gmem_range){
		.struct_size = sizeof(*range),
		.gmem = gmem,
		.offset = offset,
		.size = end - offset,
		.gpa = gpa,
		.attributes = is_private ? GMEM_PRIVATE : GMEM_SHARED,
	};
}

API int gmem_lookup(struct gmem *gmem, uint64_t offset, struct gmem_range *out)
{
	uint64_t end = gmem->size, gpa = GMEM_NO_GPA;
	struct gmem_range range;
	const struct binding *b;
	int r = check_struct(out);

	if (r)
		return r;
	if (offset >= gmem->size || offset % gmem->vm->page_size)
		return -EINVAL;

	pthread_mutex_lock(&gmem->vm->lock);
	b = binding_of(gmem, offset, &end);
	if (b) {
		end = b->offset + b->size;
		gpa = b->gpa + (offset - b->offset);
	}
	look(gmem, offset, end, gpa, &range);
	pthread_mutex_unlock(&gmem->vm->lock);

	give_struct(out, &range, sizeof(range));
	return 0;
}

API int gmem_lookup_gpa(struct gmem_vm *vm, uint64_t gpa, struct gmem_range *out)
{
	struct gmem_range range;
	const struct binding *b;
	int r = check_struct(out);

	if (r)
		return r;
	if (gpa % vm->page_size)
		return -EINVAL;

	pthread_mutex_lock(&vm->lock);
	b = binding_at(vm, gpa);
	if (!b || gpa < b->gpa)
		r = -ENXIO;
	else if (!b->gmem)
		r = -EPERM;
	else
		look(b->gmem, b->offset + (gpa - b->gpa), b->offset + b->size, gpa, &range);
	pthread_mutex_unlock(&vm->lock);

	if (!r)
		give_struct(out, &range, sizeof(range));
	return r;
}
