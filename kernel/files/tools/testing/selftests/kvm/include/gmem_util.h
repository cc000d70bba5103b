/* SPDX-License-Identifier: GPL-2.0 */
/*
 * In-place conversion, for tests: a VM with one vCPU, a guest_memfd bound to a
 * slot and mapped, a guest that reads and writes pages on request, pins.
 *
 * x() asserts, __x() returns 0 or -errno.
 */
#ifndef SELFTEST_KVM_GMEM_UTIL_H
#define SELFTEST_KVM_GMEM_UTIL_H

#include <sys/ioctl.h>
#include <linux/kvm_gmem.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "gmem_guest.h"

#define ZERO		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE
#define NONE		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE
#define PRIVATE		KVM_MEMORY_ATTRIBUTE_PRIVATE
#define SHARED		0

#define TO_SHARED	KVM_MEMORY_ATTRIBUTES2_TO_SHARED
#define TO_PRIVATE	KVM_MEMORY_ATTRIBUTES2_TO_PRIVATE

/* What page_byte() is of a page that does not hold one byte. */
#define MIXED		0x100

/* Anything but an offset that the kernel could report. */
#define POISON		0x5a5a5a5a5a5a5a5aull

#define GMEM_GPA	BIT_ULL(32)
#define GMEM_SLOT	10
#define GMEM_PAGES	16
#define GMEM_HALF	(GMEM_PAGES / 2)
#define GMEM_IN_PLACE	(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

struct gmem_vm {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	/* What the architecture knows of its guest, if anything. */
	struct gmem_guest *guest;
	u8 *mem;
	u64 nr_pages;
	/* Where page 0 of the file is in the guest, in pages from GMEM_GPA. */
	u64 guest_page;
	int fd;
};

/* Ends the case where the architecture has no such thing. */
#define ONLY_IF(what)								\
do {										\
	if (!(what))								\
		SKIP(return, "not on this architecture: %s", #what);		\
} while (0)

static inline bool policy_works(u64 attributes, u64 policy)
{
	return POLICIES & (attributes & PRIVATE ? TO_PRIVATE(policy) : TO_SHARED(policy));
}

/* What a page reads after a conversion with @policy, when it read @before. */
static inline int expected(u64 policy, int before)
{
	return policy == ZERO ? 0 : policy == NONE ? after_none(before) : before;
}

/* Skips the program where @vm cannot convert in place. */
void require_in_place(struct kvm_vm *vm);

void gmem_vm_create(struct gmem_vm *g, u64 nr_pages, u64 flags);
void gmem_vm_create_vcpus(struct gmem_vm *g, u64 nr_pages, u64 flags, int nr_vcpus,
			  struct kvm_vcpu *vcpus[]);
void gmem_vm_destroy(struct gmem_vm *g);

/* The error_offset goes to @where, which may be NULL. */
int __gmem_convert(int fd, u64 offset, u64 size, u64 attributes, u64 policy,
		   u64 *where);
/* With the guest's part in it, pages counted as in the file. */
void gmem_convert(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy);

/*
 * Without the guest's part.  Pages of the file; *@where counts pages, too, and is POISON
 * if it was not written.  It may be NULL.
 */
int try_convert(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy, u64 *where);
/* The same by guest physical address, pages counted from GMEM_GPA. */
int try_convert_gpa(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy, u64 *where);

/*
 * Another file of @nr_pages, mapped, of which the guest has the second half from its page
 * @page on, in @slot, and then the first half, in the next slot.  close_other() before the
 * VM goes.
 */
void bind_other(struct gmem_vm *g, struct gmem_vm *other, u64 nr_pages, u64 page, u32 slot);
void close_other(struct gmem_vm *other);

/* A file that the guest does not have, so that it is asked nothing. */
int gmem_file_create(struct gmem_vm *g, u64 nr_pages);
void gmem_file_convert(int fd, u64 page, u64 nr, u64 attributes);

/*
 * What the kernel says of the page at @offset: its attributes, and how many bytes from
 * there on have the same.  Either may be NULL.
 */
int __gmem_get(int fd, u64 offset, u64 *size, u64 *attributes);
/* A number in what the fdinfo of @fd has, which must be there. */
long fdinfo_number(int fd, const char *name);

/* What a VM counts of conversions in place, as it is now. */
enum gmem_count {
	CONVERSIONS_TO_PRIVATE,
	CONVERSIONS_TO_SHARED,
	PAGES_TO_PRIVATE,
	PAGES_TO_SHARED,
	REFUSED_HELD,
	REFUSED_POISON,
	REFUSED_MEMORY,
	REFUSED_POLICY,
	REFUSED_CONSENT,
	PAGES_FILLED,
	NR_COUNTS,
};

extern const char * const gmem_count_names[NR_COUNTS];
u64 gmem_count(struct gmem_vm *g, enum gmem_count which);

void punch_hole(struct gmem_vm *g, u64 page, u64 nr);

/* The byte that the whole page holds, or MIXED. */
int page_byte(const u8 *page);
int host_read(struct gmem_vm *g, u64 page);
void host_write(struct gmem_vm *g, u64 page, u8 byte);

/*
 * The guest, in lib/<architecture>/gmem_guest.c.  Its pages are counted from GMEM_GPA,
 * whatever file they are of.
 */
void guest_create(struct gmem_vm *g, int nr_vcpus, struct kvm_vcpu *vcpus[]);
void guest_destroy(struct gmem_vm *g);
int guest_read(struct gmem_vm *g, u64 page);
void guest_write(struct gmem_vm *g, u64 page, u8 byte);

/* The next run of the vCPU reads the page. */
void guest_start_read(struct gmem_vm *g, u64 page);

/* The next calls touch one page each, of @nr that the guest has never touched. */
void guest_start_touching(struct gmem_vm *g, u64 page, u64 nr);
void guest_touch_next(struct gmem_vm *g);

/* For a bare __gmem_convert(): the guest's part before to shared, and after to private. */
void guest_agrees(struct gmem_vm *g, u64 page, u64 nr);
void guest_takes_back(struct gmem_vm *g, u64 page, u64 nr);

/* Is the page of the file mappable, i.e. shared?  Asks for each of a range. */
bool is_mappable(struct gmem_vm *g, u64 page);
void expect_state(struct gmem_vm *g, u64 page, u64 nr, u64 attributes);

/* What tells pages apart, and is neither 0 nor what NONE leaves on x86. */
static inline u8 letter(u64 page)
{
	return 'A' + page;
}

void write_letters(struct gmem_vm *g);
/* That nobody holds a page and all bytes are there: both directions, both sides. */
void expect_letters_and_no_holder(struct gmem_vm *g);

/* The host frame that a page of the mapping is in, as root reads it from /proc. */
u64 pfn_of(struct gmem_vm *g, u64 page);
/* Is it in the page tables of this process? */
bool is_mapped(void *hva);

/* Hold a page of the host's mapping, as a pipe does and as a device would. */
int pin_in_pipe(void *hva, int pipefd[2]);
void unpin_pipe(int pipefd[2]);
int pin_longterm(void *hva, int *fd);

/*
 * Memory failure: of a page that is mapped here, where false is a kernel that cannot; and of
 * a frame, as hardware does it, 0 or -errno.
 */
bool poison_page(struct gmem_vm *g, u64 page);
int poison_frame(u64 pfn);

/* Text to a file that is there: 0 or -errno. */
int write_file(const char *path, const char *text);

/* The number in a file of "name number" lines, which must be there. */
long read_number(const char *path, const char *name);

/*
 * Says how far a long case is, at most once a second; @total may be 0.  Whoever runs the
 * case ends it when it has been silent for long, so each loop that can take long calls
 * this.
 */
void show_progress(const char *what, u64 done, u64 total);

/* A variable of the environment, or @otherwise. */
u64 env_number(const char *name, u64 otherwise);

#endif /* SELFTEST_KVM_GMEM_UTIL_H */
