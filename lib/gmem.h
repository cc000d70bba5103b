/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libgmem: convert guest memory between private (guest only) and shared (guest
 * and host), with whichever mechanism the kernel has.  For authors of VMMs.
 *
 * - A function that can fail returns 0 or -errno; the value of errno is then unspecified.
 *   No function prints, exits or keeps state outside the objects that the caller holds.
 * - Addresses, offsets and sizes are in bytes, and multiples of the page size.  A gpa
 *   is a guest physical address; an offset counts from the beginning of a memory.
 * - Every struct begins with its size, and may grow at its end.  The caller sets the size,
 *   for example with GMEM_INIT(), also if the library fills in the struct; a struct without
 *   its size is -EINVAL.  Members that an older caller lacks count as 0, and are not
 *   written.  A newer caller may pass members that the library does not know: if one of them
 *   is not 0, that is -E2BIG; if the library fills in the struct, it sets them to 0.  The
 *   kernel's extensible structs work the same way.  A struct that the library passes has the
 *   members that its size covers.
 * - All functions may be called in any thread, but none in a signal handler.  Only
 *   gmem_destroy() must be the last to use its memory, and gmem_vm_exit() its VM.  Requests
 *   that touch the same range (conversions, binding, unbinding, excluding, verifying) are
 *   served in the order in which they came; others run concurrently.  Adding and removing a
 *   listener waits for all earlier requests, and all later ones wait for it.
 * - A listener and the busy hook are called while others wait.  They may look up states and
 *   cancel.  They must not convert, bind, unbind, exclude, verify, rebuild, destroy, or add
 *   or remove listeners, nor wait for a thread that does.
 * - No conversion, lookup or exit allocates memory.
 */
#ifndef GMEM_H
#define GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Before 1.0 a minor version may change anything: the symbols carry its number, so that
 * a program that was linked with another one does not start.
 */
#define GMEM_VERSION "0.2.0"

struct kvm_run;
/* A VM as the library knows it: its slots, memories and listeners. */
struct gmem_vm;
/* A memory: pages that are private or shared, in one file or two. */
struct gmem;

/*
 * A struct with its size set and everything else 0.  GMEM_INIT() is an expression, and
 * GMEM_INITIALIZER() initialises a variable, which may be static.
 */
#ifdef __cplusplus
#define GMEM_INIT(type) ([] { type gmem_ = {}; gmem_.struct_size = sizeof(type); return gmem_; }())
#define GMEM_INITIALIZER(type) GMEM_INIT(type)
#else
#define GMEM_INIT(type) ((type)GMEM_INITIALIZER(type))
#define GMEM_INITIALIZER(type) { .struct_size = sizeof(type) }
#endif

/*
 * GMEM_SHARED, GMEM_PRIVATE: attributes, as KVM_SET_MEMORY_ATTRIBUTES counts them.
 * GMEM_NO_GPA: the guest physical address of a part of a memory that is not bound.
 * The flags are explained where they are used.
 */
static const uint64_t GMEM_SHARED = 0;
static const uint64_t GMEM_PRIVATE = 8;
static const uint64_t GMEM_NO_GPA = 0xffffffffffffffff;
static const uint64_t GMEM_LISTENER_REPLAY = 1;
static const uint64_t GMEM_LISTENER_GAPS = 2;
static const uint32_t GMEM_ASK_KERNEL = 1;
static const uint32_t GMEM_NO_SLOT = 1;
static const uint32_t GMEM_NO_UNDO = 1;
static const uint32_t GMEM_NO_DISCARD = 2;
/* C needs constant expressions; for macros alone bindgen guesses types, -1 for NO_GPA. */
#define GMEM_SHARED		UINT64_C(0)
#define GMEM_PRIVATE		UINT64_C(8)
#define GMEM_NO_GPA		UINT64_MAX
#define GMEM_LISTENER_REPLAY	UINT64_C(1)
#define GMEM_LISTENER_GAPS	UINT64_C(2)
#define GMEM_ASK_KERNEL		UINT32_C(1)
#define GMEM_NO_SLOT		UINT32_C(1)
#define GMEM_NO_UNDO		UINT32_C(1)
#define GMEM_NO_DISCARD		UINT32_C(2)

/* What is read after a conversion; KVM_SET_MEMORY_ATTRIBUTES2(2) has the promises. */
enum gmem_policy {
	GMEM_ZERO = 0,
	GMEM_PRESERVE = 1,
	GMEM_NONE = 2,
	/*
	 * For requests only: what guests of the VM's type expect.  In a protected VM of arm64 it
	 * is PRESERVE both ways; otherwise ZERO to shared and NONE to private.
	 */
	GMEM_DEFAULT = 31,
};

enum gmem_mechanism {
	/* This VM has no private memory, or its memory cannot be converted. */
	GMEM_MECHANISM_NONE = 0,
	/* KVM_SET_MEMORY_ATTRIBUTES, a file for the private half, another for the shared. */
	GMEM_TWO_BACKINGS = 1,
	/* KVM_SET_MEMORY_ATTRIBUTES2 on the file, without content policies. */
	GMEM_IN_PLACE_PLAIN = 2,
	/* KVM_SET_MEMORY_ATTRIBUTES2 with content policies. */
	GMEM_IN_PLACE = 3,
};

#define GMEM_POLICY_BIT(policy)	(1u << (policy))

/* ---- What a VM can do ---------------------------------------------------- */

struct gmem_probe {
	size_t struct_size;
	enum gmem_mechanism mechanism;	/* what gmem_vm_init() will use */
	uint32_t mechanisms;		/* bit (1 << mechanism) for each available one */
	uint64_t attributes;		/* that can be set: GMEM_PRIVATE or 0 */
	uint32_t to_shared;		/* GMEM_POLICY_BIT() of what @mechanism offers ... */
	uint32_t to_private;		/* ... in each direction */
	/*
	 * Whether a range of gpas over several slots is one system call, all or nothing, unless
	 * it has gaps, or slots in place that are not the library's.  The same is true of any
	 * range of offsets in place; with two backings that takes a call for each binding.
	 */
	bool is_atomic;
};

/*
 * Find out what the VM @vm_fd can do, by trying it on a scratch file of one page; the
 * VM is not changed.  @vm_type is the type that KVM_CREATE_VM was given: what a
 * lesser kernel does to contents depends on it, and the kernel cannot be asked.  @use
 * is the mechanism to describe, or GMEM_MECHANISM_NONE for the best one.
 *
 * Returns 0 also if there is no mechanism (@probe->mechanism says so).  -EOPNOTSUPP:
 * @use is not available.  -EBADF, -ENOTTY: not a VM.  -EMFILE, -ENFILE, -ENOMEM: no
 * scratch file.  -EINVAL: @probe without its size, or an unknown mechanism.  -EIO: not
 * the process that created the VM; and any other error that kept the kernel from
 * answering.
 */
int gmem_probe(int vm_fd, unsigned long vm_type, enum gmem_mechanism use,
	       struct gmem_probe *probe);

/* ---- A VM and its memories ----------------------------------------------- */

struct gmem_vm_opts {
	size_t struct_size;
	unsigned long vm_type;		/* as given to KVM_CREATE_VM */
	enum gmem_mechanism mechanism;	/* NONE: the best one */
};

/*
 * Set up @vm for the VM @vm_fd, which the caller keeps open until gmem_vm_exit().
 * @opts may be NULL.  -EOPNOTSUPP: no mechanism, or not the requested one; -ENOMEM,
 * -E2BIG, and the errors of gmem_probe().
 */
int gmem_vm_init(int vm_fd, const struct gmem_vm_opts *opts, struct gmem_vm **vm);

/*
 * Forget @vm, whose memories must have been destroyed and whose IOMMUs removed.  Listeners
 * need not be removed; those that are left are not told.  NULL is ignored.
 */
void gmem_vm_exit(struct gmem_vm *vm);

/* What gmem_probe() found; valid until gmem_vm_exit(). */
const struct gmem_probe *gmem_vm_probe(const struct gmem_vm *vm);

struct gmem_create_opts {
	size_t struct_size;
	uint64_t attributes;		/* of all pages at first: GMEM_SHARED or GMEM_PRIVATE */
};

/*
 * Create a memory of @size bytes that reads zeros and has no pages until somebody
 * touches them.  If @opts is NULL, it is shared.  Its descriptors are close-on-exec.
 * The caller owns @gmem until gmem_destroy().
 *
 * -EINVAL: size or attributes; -EMFILE, -ENFILE, -ENOMEM, -E2BIG; -EIO: not the process that
 * created the VM, or the VM is dead; -EBADF: the VM's descriptor has been closed.
 */
int gmem_create(struct gmem_vm *vm, uint64_t size, const struct gmem_create_opts *opts,
		struct gmem **gmem);

struct gmem_adopt_opts {
	size_t struct_size;
	/*
	 * Where the whole memory is mapped, shared and writable, at a multiple of the page
	 * size; the mapping stays the caller's, who keeps it.  NULL: the library maps
	 * @shared_fd if it has to, for gmem_map(), a slot or an IOMMU.
	 */
	void *hva;
	/* Two backings: the offset in @shared_fd at which the memory begins. */
	uint64_t shared_offset;
	/*
	 * The states: bit page % 64 of word page / 64 is set if the page is private.  The array
	 * is read only during the call.  NULL: all pages have @attributes.
	 */
	const uint64_t *private_pages;
	uint64_t attributes;
	/* GMEM_ASK_KERNEL: take the states from the kernel, whatever these members say. */
	uint32_t flags;
};

/*
 * Make a memory of @size bytes from files that the caller has made and keeps open until
 * gmem_destroy().  The library converts, keeps the states and tells listeners; it neither
 * closes nor unmaps what is the caller's.  The contents of the pages do not change.  From now
 * on only the library may convert them.  @opts may be NULL.
 *
 * In place, @private_fd is a guest_memfd of this VM that was created with
 * GUEST_MEMFD_FLAG_MMAP, and @shared_fd is the same, or -1.  With two backings, @private_fd
 * was created without that flag, and @shared_fd is the file of the shared half; or it is -1,
 * and the shared half is anonymous memory at @opts->hva.  The memory begins at offset 0 of
 * @private_fd.
 *
 * With two backings the library's states are authoritative: gmem_bind() sets the VM's
 * attributes accordingly.  If the VM has attributes already, pass the same states in @opts.
 *
 * -EINVAL: size, attributes, alignment, an unknown flag, a file that is too small, a different
 * @shared_fd in place, or with two backings neither it nor hva; -EBADF: @private_fd or
 * @shared_fd is not open; -ENOTTY: in place, @private_fd is not a file that converts;
 * -EOPNOTSUPP: GMEM_ASK_KERNEL with two backings, or with a kernel that cannot be asked; -EIO:
 * not the process that created the VM, or the kernel's answer makes no sense; -ENOMEM, -E2BIG.
 */
int gmem_adopt(struct gmem_vm *vm, uint64_t size, int private_fd, int shared_fd,
	       const struct gmem_adopt_opts *opts, struct gmem **gmem);

/*
 * Unbind @gmem everywhere, unmap it and close its files, as far as they are the library's.
 * NULL is ignored.  Waits for earlier requests for the memory.  If KVM does not delete a
 * slot, for lack of memory or because a protected guest has run, the addresses under it stay
 * occupied until the process ends; the memory is freed.  A mapping of the caller's must then
 * stay: call gmem_unbind() first, which returns an error in this case.
 */
void gmem_destroy(struct gmem *gmem);

uint64_t gmem_size(const struct gmem *gmem);

/*
 * The file that has the shared pages, to map it elsewhere or hand it to a device back end,
 * and the one that has the private pages; they are the same in place.  Both belong to the
 * library, or to the caller if the memory was adopted.  -1: the shared half is anonymous.
 */
int gmem_shared_fd(const struct gmem *gmem);
int gmem_private_fd(const struct gmem *gmem);

struct gmem_map_opts {
	size_t struct_size;
	/* As for mmap(): a hint, or the place if @mmap_flags say so.  NULL: anywhere. */
	void *address;
	/* Besides MAP_SHARED and MAP_NORESERVE, such as MAP_FIXED_NOREPLACE or MAP_POPULATE. */
	int mmap_flags;
};

/*
 * Map @gmem for the host at *@hva, until it is destroyed.  If it is mapped already, or was
 * adopted with its mapping, return that, whatever @opts say.  @opts may be NULL.  In place,
 * touching a private page raises SIGBUS; with two backings a private page does not read there
 * as the guest reads it.
 *
 * -EINVAL: @opts without its size, or a flag that does not make a shared mapping of a file;
 * -E2BIG, -ENOMEM, and the errors of mmap().
 */
int gmem_map(struct gmem *gmem, const struct gmem_map_opts *opts, void **hva);

struct gmem_bind_opts {
	size_t struct_size;
	/*
	 * GMEM_NO_SLOT: KVM's slot is the caller's, and so is its number; @slot is ignored.  The
	 * library does not map the memory then.  Bind before the slot is made, and unbind after
	 * it has been deleted, so that no vCPU uses memory with the wrong states (two backings)
	 * or memory that an IOMMU does not map yet.
	 */
	uint32_t flags;
	/* Of KVM's slot, besides KVM_MEM_GUEST_MEMFD; 7.3 accepts none for such a slot. */
	uint32_t slot_flags;
	/* How long to wait, as in gmem_convert_opts; 0: as long as it takes. */
	uint32_t timeout_ms;
	const uint32_t *cancel;
};

/*
 * Place [@offset, +@size) of @gmem at the guest's [@gpa, +@size), as KVM's memslot @slot,
 * which has the address space in its upper 16 bits.  Maps @gmem.  A page of a memory is bound
 * at most once.  @opts may be NULL.  Waits for earlier requests for the same range, as do the
 * next two functions.
 *
 * -EINVAL: alignment, size, beyond the end, an unknown flag, slot_flags with GMEM_NO_SLOT, or
 * @opts without its size; -EEXIST: overlaps what the library has bound or excluded, or a slot
 * of the caller's, or another binding of the library uses the slot number; -ETIMEDOUT,
 * -ECANCELED: see @opts; -ENOMEM, -E2BIG; the error of a listener that replays; the errors of
 * KVM_SET_USER_MEMORY_REGION2, which is -EINVAL if a slot of the caller's has this number, or
 * slot_flags are not accepted.  On failure nothing is bound.
 */
int gmem_bind(struct gmem *gmem, uint32_t slot, uint64_t gpa, uint64_t offset, uint64_t size,
	      const struct gmem_bind_opts *opts);

/*
 * Mark [@gpa, +@size) as existing but not convertible: device memory, ROM, a slot of ordinary
 * memory.  It counts as shared.  No slot is made; that is up to the caller.  @opts may be
 * NULL, and has no flags.
 *
 * -EINVAL: alignment, size, flags, or @opts without its size; -EEXIST: overlaps what the
 * library has bound or excluded; -ETIMEDOUT, -ECANCELED, -ENOMEM, -E2BIG.
 */
int gmem_exclude(struct gmem_vm *vm, uint64_t gpa, uint64_t size,
		 const struct gmem_bind_opts *opts);

/*
 * Undo the gmem_bind() or gmem_exclude() whose range begins at @gpa.  Pages keep their
 * state and contents.  @opts may be NULL, and has no flags.
 *
 * -EINVAL: flags, or @opts without its size; -ENXIO: nothing begins there; -ETIMEDOUT,
 * -ECANCELED, -E2BIG; the error of a listener that replays; the errors of
 * KVM_SET_USER_MEMORY_REGION2, such as -EPERM once a protected guest has run.  On failure
 * the range is bound as before.
 */
int gmem_unbind(struct gmem_vm *vm, uint64_t gpa, const struct gmem_bind_opts *opts);

/*
 * In calls of these four functions @opts can be left out, which means NULL:
 * gmem_map(gmem, &hva), gmem_bind(gmem, slot, gpa, offset, size).
 */
#define GMEM_PICK(a, b, c, d, e, f, g, h, macro, ...) macro
#define GMEM_ALL(...) __VA_ARGS__
#define GMEM_NULL_FIRST(argument) NULL, argument
#define GMEM_NULL_LAST(argument) argument, NULL
#define GMEM_IF_ONE(macro, ...)							\
	GMEM_PICK(__VA_ARGS__, GMEM_ALL, GMEM_ALL, GMEM_ALL, GMEM_ALL, GMEM_ALL, GMEM_ALL,	\
		  GMEM_ALL, macro, 0)(__VA_ARGS__)
#define gmem_map(gmem, ...) (gmem_map)(gmem, GMEM_IF_ONE(GMEM_NULL_FIRST, __VA_ARGS__))
#define gmem_bind(gmem, slot, gpa, offset, ...) \
	(gmem_bind)(gmem, slot, gpa, offset, GMEM_IF_ONE(GMEM_NULL_LAST, __VA_ARGS__))
#define gmem_exclude(vm, gpa, ...) \
	(gmem_exclude)(vm, gpa, GMEM_IF_ONE(GMEM_NULL_LAST, __VA_ARGS__))
#define gmem_unbind(vm, ...) (gmem_unbind)(vm, GMEM_IF_ONE(GMEM_NULL_LAST, __VA_ARGS__))

/* ---- Listeners ------------------------------------------------------------ */

/* A part of a request, bound as a whole at @gpa, or not at all, then at GMEM_NO_GPA. */
struct gmem_range {
	size_t struct_size;
	struct gmem *gmem;
	uint64_t offset;
	uint64_t size;
	uint64_t gpa;
	uint64_t attributes;		/* for a listener: the old ones */
};

/*
 * Device assignment: an IOMMU that maps shared memory pins it, and pinned memory cannot
 * become private.  So unmap *before* a range becomes private, and map *after* it has
 * become shared and its contents are settled.  Both functions are called in the
 * converting thread, for ranges that change, in ascending order; if a conversion fails,
 * the opposite function undoes it, in the same thread.  Either may block and may look up
 * states, which are the old ones; see above for what they must not do.
 *
 * Listeners are told in the order in which they were added, each of all ranges, and undone
 * in reverse order.  before_private() returns 0, or -errno to refuse the conversion.  So
 * does after_shared(): then everything goes back to private, as far as possible.
 *
 * A listener that refuses a shared range must hold none of it, and one that refuses to
 * let go must still hold all of it.
 *
 * Concurrent conversions call a listener concurrently.  begin() and commit() may be NULL.
 * They are called before and after the ranges that belong together, in one thread, so that a
 * listener can collect these and send one message.  begin() is told what they become, and
 * returns 0, or -errno to refuse the conversion; commit() returns the answer, 0 or -errno.
 * commit() is not called if begin(), before_private() or after_shared() of the same listener
 * has refused.  If any function of a listener with commit() refuses, the listener itself has
 * taken back all of them, and nothing is undone for it.
 *
 * The undo of a conversion tells of each range separately, between a begin() and a commit() of
 * its own.  It continues if a listener refuses, and result->undo_error has the error of the
 * first one.  A range stays shared if a listener does not let go of it.  All are told of what
 * stays shared, because the undo failed or was declined, with after_shared().  So in the end
 * each listener has been told what is shared and what is not, and has agreed, except where it
 * has refused itself.
 */
struct gmem_listener {
	size_t struct_size;
	int (*before_private)(struct gmem_listener *listener, const struct gmem_range *range);
	int (*after_shared)(struct gmem_listener *listener, const struct gmem_range *range);
	void *arg;
	uint64_t flags;
	int (*begin)(struct gmem_listener *listener, uint64_t attributes);
	int (*commit)(struct gmem_listener *listener);
};

/*
 * For gmem_listener.flags:
 *
 * GMEM_LISTENER_REPLAY: tell the listener of everything that is bound and shared, and of
 * nothing else, also when it is added or removed, and when memory is bound or unbound.
 *
 * GMEM_LISTENER_GAPS: it can let go of a range in which it does not hold every page.  Then
 * before_private() is called once for each part of a request, rather than for each range
 * that changes.  An undo, unbinding and removing still tell it of each range separately,
 * and after_shared() is called for shared ranges only.
 */

/*
 * @listener stays the caller's, who must keep it until it is removed.
 *
 * With GMEM_LISTENER_REPLAY adding calls after_shared() for what is bound and shared, and
 * removing before_private(); gmem_bind() and gmem_unbind() do the same for their range.  No
 * conversion of the range runs meanwhile, so the listener is told of each page exactly
 * once.  If it refuses, adding, binding and unbinding are undone and return its error;
 * removing continues, and returns the first error.  Without the flag it is told nothing:
 * iterate with gmem_lookup().
 *
 * -EINVAL: without its size or a function, or an unknown flag; -EEXIST: added already;
 * -ENOMEM, -E2BIG.  Removing: -ENOENT.
 */
int gmem_add_listener(struct gmem_vm *vm, struct gmem_listener *listener);
int gmem_remove_listener(struct gmem_vm *vm, struct gmem_listener *listener);

/* ---- Devices behind an IOMMU ---------------------------------------------- */

/* A listener of the library's own. */
struct gmem_iommu;

struct gmem_iommu_opts {
	size_t struct_size;
	/*
	 * An iommufd, or a VFIO container that has a group and a type1 IOMMU.  It stays
	 * the caller's, who keeps it open until gmem_remove_iommu().
	 */
	int fd;
	uint32_t ioas_id;		/* of the iommufd; 0 for a container */
};

/*
 * Make an IOMMU map everything that is bound and shared, for reading and writing, at the
 * guest's addresses, until it is removed: it follows conversions, gmem_bind() and
 * gmem_unbind().  It never maps what is private, or not in a memory of @vm, and nobody
 * else may map or unmap in the range of the bindings.
 *
 * Attach the devices first: an IOAS without a device pins nothing, so its mappings are not
 * checked until one is attached.  A second device may join the IOAS or the container at any
 * time, and needs no call here.
 *
 * An iommufd is best.  If the IOAS has no mappings, and VFIO's compatibility calls refer to no
 * other one (IOMMU_VFIO_IOAS, which is set here and cleared when the IOMMU is removed), it is
 * set to use small pages; then a shared range is one mapping, out of which conversions cut
 * pages.  So map memory of your own after this.  Otherwise each page is a mapping of its own,
 * of which a container has vfio_iommu_type1.dma_entry_limit, by default 65535: 256 MiB.
 *
 * -EINVAL, -ENOTTY, -EBADF: not an iommufd with an IOAS, nor a container with an IOMMU; -EINVAL
 * also: the IOMMU does not have an address at which shared memory is bound; -ENODEV: an iommufd,
 * ioas_id 0, and no IOAS for VFIO's calls; -ENOENT: no such IOAS; -EEXIST: something is mapped
 * there; -ENOSPC: more shared pages than type1 has mappings; -ENOMEM: also the limit of locked
 * memory; -E2BIG; other errors of the kernel for a mapping.  On failure nothing is mapped.
 */
int gmem_add_iommu(struct gmem_vm *vm, const struct gmem_iommu_opts *opts,
		   struct gmem_iommu **iommu);

/*
 * Unmap everything.  NULL is ignored.  @iommu is removed in any case; -errno is the first
 * error with which the kernel refused to unmap, and then closing @fd unmaps.
 *
 * Call this before the last group leaves a container, which then loses its IOMMU:
 * conversions would fail with -EINVAL until this is called.
 */
int gmem_remove_iommu(struct gmem_iommu *iommu);

/* ---- Conversion ---------------------------------------------------------- */

/*
 * For gmem_convert_opts.flags:
 *
 * GMEM_NO_UNDO: on failure, leave what has been converted so far, rather than convert it
 * back.
 *
 * GMEM_NO_DISCARD: with two backings, keep the pages of the other half.  This is quicker
 * and takes up to twice the memory.
 */

struct gmem_convert_opts {
	size_t struct_size;
	enum gmem_policy to_shared;
	enum gmem_policy to_private;
	uint32_t flags;
	/*
	 * How long the call waits in total, in milliseconds from its beginning: first for
	 * earlier requests for the same range, then for a page that somebody holds, which is
	 * tried again.  0: the page is not tried again, @busy is not called, and the call waits
	 * for earlier requests as long as they take.  Not included is what cannot be
	 * interrupted: a listener, @busy, and the last system call, up to a second.
	 *
	 * @busy, if there is one, is called before each new attempt with the address of that
	 * page, as the request counts it, and the number of failed attempts.  It is meant to
	 * make the holder let go, and returns 0 for another attempt, or -errno to give up
	 * and return that.  See above for what it must not do.
	 */
	uint32_t timeout_ms;
	int (*busy)(void *arg, uint64_t where, unsigned int attempts);
	void *arg;
	/* NULL, or what gmem_cancel() sets. */
	const uint32_t *cancel;
};

/*
 * The defaults without opts: GMEM_DEFAULT both ways, which every mechanism has.  Start
 * from it: GMEM_INIT(struct gmem_convert_opts) selects ZERO both ways, which most
 * mechanisms refuse to private.  GMEM_CONVERT_OPTS_INITIALIZER is for static variables.
 */
#ifdef __cplusplus
#define GMEM_CONVERT_OPTS ([] { \
	struct gmem_convert_opts gmem_opts_ = GMEM_INIT(struct gmem_convert_opts); \
	gmem_opts_.to_shared = gmem_opts_.to_private = GMEM_DEFAULT; \
	return gmem_opts_; }())
#define GMEM_CONVERT_OPTS_INITIALIZER GMEM_CONVERT_OPTS
#else
#define GMEM_CONVERT_OPTS ((struct gmem_convert_opts)GMEM_CONVERT_OPTS_INITIALIZER)
#define GMEM_CONVERT_OPTS_INITIALIZER { \
	.struct_size = sizeof(struct gmem_convert_opts), \
	.to_shared = GMEM_DEFAULT, .to_private = GMEM_DEFAULT }
#endif

/* The step at which a conversion failed. */
enum gmem_step {
	GMEM_STEP_DONE = 0,
	GMEM_STEP_CHECK,		/* the request itself, before anything was done */
	GMEM_STEP_BEFORE_PRIVATE,	/* a listener refused */
	GMEM_STEP_PREPARE,		/* two backings: emptying the other half */
	GMEM_STEP_CONVERT,		/* the kernel refused */
	GMEM_STEP_ZERO,			/* without policies: zeroing, before the kernel converts */
	GMEM_STEP_AFTER_SHARED,		/* a listener refused */
	GMEM_STEP_TURN,			/* waiting for earlier requests */
};

struct gmem_result {
	size_t struct_size;
	enum gmem_step step;
	uint64_t where;			/* lowest address that refused, as the request counts it */
	unsigned int attempts;		/* calls of the kernel that ended with -EAGAIN */
	/*
	 * After a failure, [left, +left_size), as the request counts it, is the smallest
	 * range that contains all pages that stayed converted; some pages in it may have
	 * been converted back (see gmem_lookup()).  left_size is 0 if the undo worked, or
	 * was not needed.  undo_error is the first error of the undo, or -ECANCELED with
	 * GMEM_NO_UNDO.
	 */
	uint64_t left;
	uint64_t left_size;
	int undo_error;
	/*
	 * After a failure: it was undone, but all or some of the contents are gone.  That is
	 * so after an undo that could not keep contents, and without policies after ZERO to
	 * shared: the library zeros before the host can read, and so before the kernel may
	 * fail.
	 */
	bool contents_lost;
	/* Two backings: bytes whose other half could not be given back.  Not a failure. */
	uint64_t undiscarded;
};

/*
 * Give all of [@gpa, +@size) the state @attributes, GMEM_PRIVATE or GMEM_SHARED, over as
 * many slots and memories as it covers.  Pages that have the state already keep their
 * contents.  Addresses that are not bound, or are excluded, count as shared: to shared,
 * the memory in the range is converted, which may be none, as firmware asks for MMIO to be
 * shared; to private, such a range is refused.  @opts and @result may be NULL.  Blocks
 * while mappings are removed, for listeners, and for earlier requests for the same range;
 * opts->timeout_ms limits the waiting.
 *
 * Either all of it is converted or nothing: in one system call if gmem_probe.is_atomic is
 * set and there are no gaps, or if one call is enough.  Otherwise what was converted before
 * the failure is converted back.  @result describes a failure, and what is left converted if
 * not everything was undone.
 *
 * -EINVAL	alignment, size 0, overflow, attributes, an unknown policy,
 *		@opts or @result without its size
 * -ENXIO	to private: nothing is bound at result->where
 * -EPERM	to private: result->where is excluded (GMEM_STEP_CHECK).  To shared: the guest
 *		has not agreed to share the page (GMEM_STEP_CONVERT), in a protected VM of
 *		arm64.  Waiting does not help, so it is not tried again
 * -EOPNOTSUPP	the policy is not available in this direction; gmem_probe says which are
 * -EAGAIN	the page at result->where is held by somebody: a pin, an IOMMU, a pipe;
 *		gmem-who(1) says who may hold it.  With two backings a page that is held does
 *		not refuse: its holder keeps a page that is no longer the guest's
 * -ETIMEDOUT	earlier requests took all of opts->timeout_ms (GMEM_STEP_TURN)
 * -ECANCELED	cancelled by gmem_cancel() while the call waited; or a listener returned a
 *		positive number
 * -EHWPOISON	the page at result->where has a memory error
 * -ENOMEM	the kernel could not track the new state
 * -EIO		the caller is not the process that created the VM
 * -E2BIG	@opts is newer than the library
 * and the errors of a listener or of the busy hook.  Never -EINTR: the library tries again.
 */
int gmem_convert_gpa(struct gmem_vm *vm, uint64_t gpa, uint64_t size, uint64_t attributes,
		     const struct gmem_convert_opts *opts, struct gmem_result *result);

/*
 * The same for [@offset, +@size) of @gmem, bound or not.  Never returns -ENXIO, and -EPERM
 * only if the guest has not agreed.
 */
int gmem_convert(struct gmem *gmem, uint64_t offset, uint64_t size, uint64_t attributes,
		 const struct gmem_convert_opts *opts, struct gmem_result *result);

/*
 * Set *@cancel to 1, and make the calls of @vm that were given it return -ECANCELED instead of
 * waiting: now, and until the caller sets it to 0 again.  So it does not matter whether a call
 * has begun.  One that need not wait is carried out; what a cancelled one has done is undone.
 *
 * To stop vCPUs, use one @cancel for each: as with kvm_run.immediate_exit, set it, kick the
 * thread out of KVM_RUN, and set it to 0 when the vCPU continues.  May be called in any thread,
 * also in a listener or @busy, but not in a signal handler.
 */
void gmem_cancel(struct gmem_vm *vm, uint32_t *cancel);

/* ---- Which pages are private ---------------------------------------------- */

/*
 * The longest range from @offset on that has one state, and is bound in one piece or not
 * at all.  To visit all ranges, begin at 0 and continue at range->offset +
 * range->size.  -EINVAL: alignment, beyond the end, or @range without its size.
 */
int gmem_lookup(struct gmem *gmem, uint64_t offset, struct gmem_range *range);

/*
 * The same from @gpa on.  -EINVAL: alignment, or @range without its size; -ENXIO: nothing is
 * bound there; -EPERM: it is excluded.
 */
int gmem_lookup_gpa(struct gmem_vm *vm, uint64_t gpa, struct gmem_range *range);

/*
 * Compare the library's states of @gmem with the kernel's.  0: they are the same.  1: they
 * differ, because somebody has converted without the library, and *@first_difference, which
 * may be NULL, is the range that differs at the lowest offset: it has one state, is bound in
 * one piece or not at all, and its attributes are the kernel's.
 *
 * Waits for earlier conversions of @gmem, and later ones wait for it.  The time depends on how
 * often states change along @gmem, not on its size.
 *
 * -EINVAL: @first_difference without its size; -EOPNOTSUPP: two backings, or a kernel that
 * does not say which pages are private; -EIO: a senseless answer.
 */
int gmem_verify(struct gmem *gmem, struct gmem_range *first_difference);

/*
 * Replace the library's states of @gmem by the kernel's, from the lowest offset on.
 * Listeners are told of what differs as if it were converted now, with before_private() or
 * after_shared(); for what has become private it is too late to let go, but what an IOMMU
 * holds cannot have become private.  If a listener refuses, the call continues, and returns
 * the first error.  Waits, and is waited for, like gmem_verify().
 *
 * -EOPNOTSUPP and -EIO as for gmem_verify().
 */
int gmem_rebuild(struct gmem *gmem);

/* ---- Exits of a vCPU ----------------------------------------------------- */

/*
 * Do what the guest asked for, after KVM_RUN returned @run_error (0 or -errno) with
 * @run: KVM_EXIT_MEMORY_FAULT, with -EFAULT or success, or the KVM_EXIT_HYPERCALL of
 * KVM_HC_MAP_GPA_RANGE.  Call it before anything else reads @run.
 *
 * A guest of KVM_X86_SW_PROTECTED_VM cannot mark an access as private or shared, so it can
 * only ask by hypercall.
 *
 * In a protected VM of arm64, the hypercall by which the guest agrees to share a page, or
 * takes it back, is a memory fault, too.  It needs no answer: the guest executes it again
 * when the vCPU runs, until the page has been converted.  It expects its contents to stay,
 * as by default they do.  -EPERM: another vCPU has taken the page back; run the vCPU again.
 *
 * 0: the exit was handled; run the vCPU again.  1: it was another exit, which the caller
 * handles, as it does any other @run_error: -EHWPOISON is a page with a memory error, or one
 * that was taken from a protected guest.  -EALREADY: the pages of a memory fault have the
 * state already.  Another conversion came first, so run the vCPU again; if the exit comes
 * back at once, the guest cannot have the memory.  Otherwise, the errors of
 * gmem_convert_gpa().  After a hypercall, hypercall.ret has what KVM tells the guest: 0;
 * EAGAIN for -EAGAIN, -ETIMEDOUT and -ECANCELED; or EINVAL for the rest, as positive
 * numbers.  KVM accepts no others; the caller may put another of the three there.
 */
int gmem_handle_exit(struct gmem_vm *vm, struct kvm_run *run, int run_error,
		     const struct gmem_convert_opts *opts, struct gmem_result *result);

/* ---- Structs, for languages without C macros ------------------------------ */

/*
 * Do what GMEM_INIT() does, to @size bytes, the size of the struct as the caller knows
 * it; the library may know a larger one.
 */
void gmem_probe_init(struct gmem_probe *probe, size_t size);
void gmem_vm_opts_init(struct gmem_vm_opts *opts, size_t size);
void gmem_create_opts_init(struct gmem_create_opts *opts, size_t size);
void gmem_adopt_opts_init(struct gmem_adopt_opts *opts, size_t size);
void gmem_map_opts_init(struct gmem_map_opts *opts, size_t size);
void gmem_bind_opts_init(struct gmem_bind_opts *opts, size_t size);
void gmem_range_init(struct gmem_range *range, size_t size);
void gmem_listener_init(struct gmem_listener *listener, size_t size);
void gmem_iommu_opts_init(struct gmem_iommu_opts *opts, size_t size);
void gmem_result_init(struct gmem_result *result, size_t size);
/* The same with GMEM_CONVERT_OPTS. */
void gmem_convert_opts_init(struct gmem_convert_opts *opts, size_t size);

/* ---- Names, for messages.  NULL is never returned. ------------------------ */

/* The version of the running library; GMEM_VERSION is that of the header. */
const char *gmem_version(void);

const char *gmem_mechanism_name(enum gmem_mechanism mechanism);
const char *gmem_policy_name(enum gmem_policy policy);
const char *gmem_step_name(enum gmem_step step);

#ifdef __cplusplus
}
#endif

#endif /* GMEM_H */
