// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Binding, excluding and unbinding: a turn, the list of bindings, listeners, and KVM's slots.
 * Also the end of a memory, which unbinds it first.
 */
#include <errno.h>
#include <sys/mman.h>

#include "internal.h"

/*
 * With two backings the VM's attributes say which pages are private, by gpa.  Outside bindings
 * everything is shared, so that slots which the library does not know work.  Shared ranges are
 * set as well, in case an unbinding failed to; KVM notices if nothing changes.
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

static bool is_range(const struct gmem_vm *vm, uint64_t start, uint64_t size)
{
	return size && !(start % vm->page_size) && !(size % vm->page_size) && start + size > start;
}

/* Last of all, as KVM may refuse to delete a slot. */
static int make_slot(const struct binding *b)
{
	if (!b->has_slot)
		return 0;

	return set_slot(b->gmem->vm->fd, b->slot, b->slot_flags, b->gpa, b->size,
			(char *)b->gmem->hva + b->offset, b->gmem->private_fd, b->offset);
}

static int delete_slot(const struct binding *b)
{
	return b->has_slot ? set_slot(b->gmem->vm->fd, b->slot, 0, b->gpa, 0, NULL, -1, 0) : 0;
}

/* @b is in the list, and nobody else touches what it covers. */
static int give_to_guest(const struct binding *b)
{
	struct gmem_vm *vm = b->gmem->vm;
	int r;

	/* Before there is a slot, so that no vCPU accesses the wrong half. */
	r = set_attributes(b, true);
	if (r)
		goto undo_attributes;
	r = tell_binding(vm, b->gpa, b->size, false, false);
	if (r)
		goto undo_attributes;
	r = make_slot(b);
	if (!r)
		return 0;

	tell_binding(vm, b->gpa, b->size, true, true);
undo_attributes:
	set_attributes(b, false);
	return r;
}

/* Any flag that is not in @flags_allowed is -EINVAL. */
static int take_opts(struct gmem_bind_opts *opts, const struct gmem_bind_opts *caller,
		     uint32_t flags_allowed)
{
	int r;

	*opts = GMEM_INIT(struct gmem_bind_opts);
	if (!caller)
		return 0;
	r = take_struct(opts, caller, sizeof(*opts));
	if (r)
		return r;

	return opts->flags & ~flags_allowed ? -EINVAL : 0;
}

API int gmem_bind(struct gmem *gmem, uint32_t slot, uint64_t gpa, uint64_t offset, uint64_t size,
		  const struct gmem_bind_opts *caller)
{
	struct binding new = { .gmem = gmem, .gpa = gpa, .offset = offset, .size = size };
	struct turn turn = {
		.gpa = gpa, .gpa_end = gpa + size,
		.gmem = gmem, .offset = offset, .offset_end = offset + size,
	};
	struct gmem_vm *vm = gmem->vm;
	struct gmem_bind_opts opts;
	struct patience patience;
	void *hva;
	int r = take_opts(&opts, caller, GMEM_NO_SLOT);

	if (r)
		return r;
	new.has_slot = !(opts.flags & GMEM_NO_SLOT);
	new.slot = slot;
	new.slot_flags = opts.slot_flags;
	if (!is_range(vm, gpa, size) || !is_range(vm, offset, size) ||
	    offset + size > gmem->size || (new.slot_flags && !new.has_slot))
		return -EINVAL;
	if (new.has_slot) {
		r = gmem_map(gmem, NULL, &hva);
		if (r)
			return r;
	}

	patience = patience_of(opts.timeout_ms, opts.cancel);
	r = take_turn(vm, &turn, &patience);
	if (r)
		return r;
	r = binding_check(vm, &new);
	if (!r)
		r = binding_insert(vm, &new);
	if (!r) {
		pthread_mutex_unlock(&vm->lock);
		r = give_to_guest(&new);
		pthread_mutex_lock(&vm->lock);
		if (r)
			binding_erase(vm, gpa);
	}
	end_turn(vm, &turn);

	return r;
}

API int gmem_exclude(struct gmem_vm *vm, uint64_t gpa, uint64_t size,
		     const struct gmem_bind_opts *caller)
{
	struct turn turn = { .gpa = gpa, .gpa_end = gpa + size };
	struct binding new = { .gpa = gpa, .size = size };
	struct gmem_bind_opts opts;
	struct patience patience;
	int r = take_opts(&opts, caller, 0);

	if (r)
		return r;
	if (!is_range(vm, gpa, size) || opts.slot_flags)
		return -EINVAL;

	patience = patience_of(opts.timeout_ms, opts.cancel);
	r = take_turn(vm, &turn, &patience);
	if (r)
		return r;
	r = binding_check(vm, &new);
	if (!r)
		r = binding_insert(vm, &new);
	end_turn(vm, &turn);

	return r;
}

/*
 * @lock is held, and dropped in between; the turn covers the binding.  @forced: unbind even
 * if a listener refuses.
 */
static int remove_binding(struct gmem_vm *vm, const struct binding *b, bool forced)
{
	struct binding old = *b;
	int r = 0;

	if (old.gmem) {
		pthread_mutex_unlock(&vm->lock);
		r = tell_binding(vm, old.gpa, old.size, true, forced);
		if (!r || forced) {
			r = delete_slot(&old);
			/*
			 * There was a slot here before, so this can fail only for lack of
			 * memory.
			 */
			if (!r)
				set_attributes(&old, false);
			/*
			 * The guest still has it; if it were forgotten, nobody could let go of it
			 * later.
			 */
			else if (!forced)
				tell_binding(vm, old.gpa, old.size, false, true);
		}
		pthread_mutex_lock(&vm->lock);
	}
	if (!r)
		binding_erase(vm, old.gpa);
	return r;
}

API int gmem_unbind(struct gmem_vm *vm, uint64_t gpa, const struct gmem_bind_opts *caller)
{
	struct gmem_bind_opts opts;
	struct patience patience;
	const struct binding *b;
	bool again = true;
	int r = take_opts(&opts, caller, 0);

	if (r)
		return r;
	if (opts.slot_flags)
		return -EINVAL;

	patience = patience_of(opts.timeout_ms, opts.cancel);
	/* A larger one may have been bound there while this one waited. */
	while (again) {
		struct turn turn = { .gpa = gpa };

		pthread_mutex_lock(&vm->lock);
		b = binding_at(vm, gpa);
		turn.gpa_end = b && b->gpa == gpa ? gpa + b->size : gpa + 1;
		pthread_mutex_unlock(&vm->lock);

		r = take_turn(vm, &turn, &patience);
		if (r)
			return r;
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

/* -errno: a living VM (hence not -EIO) still has a slot of it. */
static int unbind_all(struct gmem *gmem)
{
	struct turn turn = { .gmem = gmem, .offset_end = gmem->size };
	struct gmem_vm *vm = gmem->vm;
	int r, error = 0;
	uint64_t gpa;

	take_turn(vm, &turn, NULL);
	/* Start from the beginning each time, as others may bind and unbind meanwhile. */
	while (gmem->bindings) {
		gpa = gmem->bindings->gpa;
		r = remove_binding(vm, gmem->bindings, true);
		if (!r)
			continue;
		/* A slot that KVM does not delete is forgotten all the same. */
		binding_erase(vm, gpa);
		if (r != -EIO)
			error = r;
	}
	end_turn(vm, &turn);

	return error;
}

API void gmem_destroy(struct gmem *gmem)
{
	if (!gmem)
		return;

	/*
	 * If a slot stays, the next mapping at these addresses would become the guest's
	 * memory, so keep them occupied.  If that fails, the memory stays, too.
	 */
	if (unbind_all(gmem) && gmem->owns_mapping) {
		(void)mmap(gmem->hva, gmem->size, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		gmem->owns_mapping = false;
	}
	free_memory(gmem);
}
