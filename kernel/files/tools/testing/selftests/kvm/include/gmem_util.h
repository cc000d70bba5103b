/* SPDX-License-Identifier: GPL-2.0 */
/*
 * In-place conversion, for tests: a VM with one vCPU, a guest_memfd bound to a slot and
 * mapped, a guest that reads and writes pages on request, and pins.
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

/* What page_byte() returns for a page whose bytes differ. */
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
	/* What the architecture keeps about its guest, if anything. */
	struct gmem_guest *guest;
	u8 *mem;
	u64 nr_pages;
	/* Where the guest has page 0 of the file, in pages from GMEM_GPA. */
	u64 guest_page;
	int fd;
};

/* Ends the case if the architecture does not support @what. */
#define ONLY_IF(what)								\
do {										\
	if (!(what))								\
		SKIP(return, "not on this architecture: %s", #what);		\
} while (0)

static inline bool policy_works(u64 attributes, u64 policy)
{
	return POLICIES & (attributes & PRIVATE ? TO_PRIVATE(policy) : TO_SHARED(policy));
}

/* What reads of a page return after a conversion with @policy, if they returned @before. */
static inline int expected(u64 policy, int before)
{
	return policy == ZERO ? 0 : policy == NONE ? after_none(before) : before;
}

/* Skips the program if @vm cannot convert in place. */
void require_in_place(struct kvm_vm *vm);

void gmem_vm_create(struct gmem_vm *g, u64 nr_pages, u64 flags);
void gmem_vm_create_vcpus(struct gmem_vm *g, u64 nr_pages, u64 flags, int nr_vcpus,
			  struct kvm_vcpu *vcpus[]);
void gmem_vm_destroy(struct gmem_vm *g);

/* The error_offset is stored in @where, which may be NULL. */
int __gmem_convert(int fd, u64 offset, u64 size, u64 attributes, u64 policy,
		   u64 *where);
/* Including the guest's part, with pages counted as in the file. */
void gmem_convert(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy);

/*
 * Without the guest's part.  @page and *@where count pages of the file; *@where is POISON
 * if the kernel has not written it.  @where may be NULL.
 */
int try_convert(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy, u64 *where);
/* The same by guest physical address, with pages counted from GMEM_GPA. */
int try_convert_gpa(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy, u64 *where);

/*
 * Another file of @nr_pages, mapped, whose second half the guest has from its page @page
 * on, in @slot, followed by the first half, in the next slot.  Call close_other() before
 * the VM is destroyed.
 */
void bind_other(struct gmem_vm *g, struct gmem_vm *other, u64 nr_pages, u64 page, u32 slot);
void close_other(struct gmem_vm *other);

/* A file that the guest does not have, so the guest is not asked. */
int gmem_file_create(struct gmem_vm *g, u64 nr_pages);
void gmem_file_convert(int fd, u64 page, u64 nr, u64 attributes);

/*
 * What the kernel reports for the page at @offset: its attributes, and how many bytes from
 * there on have the same.  Either pointer may be NULL.
 */
int __gmem_get(int fd, u64 offset, u64 *size, u64 *attributes);
/* A number in the fdinfo of @fd, which must be present. */
long fdinfo_number(int fd, const char *name);

/* What a VM currently counts of in-place conversions. */
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

/* The byte that fills the whole page, or MIXED. */
int page_byte(const u8 *page);
int host_read(struct gmem_vm *g, u64 page);
void host_write(struct gmem_vm *g, u64 page, u8 byte);

/*
 * The guest, in lib/<architecture>/gmem_guest.c.  Its pages are counted from GMEM_GPA,
 * whichever file they belong to.
 */
void guest_create(struct gmem_vm *g, int nr_vcpus, struct kvm_vcpu *vcpus[]);
void guest_destroy(struct gmem_vm *g);
int guest_read(struct gmem_vm *g, u64 page);
void guest_write(struct gmem_vm *g, u64 page, u8 byte);

/* Makes the next run of the vCPU read the page. */
void guest_start_read(struct gmem_vm *g, u64 page);

/* Each guest_touch_next() then touches one of @nr pages that the guest has never touched. */
void guest_start_touching(struct gmem_vm *g, u64 page, u64 nr);
void guest_touch_next(struct gmem_vm *g);

/*
 * To go with a bare __gmem_convert(): the guest's part before a conversion to shared, and
 * after one to private.
 */
void guest_agrees(struct gmem_vm *g, u64 page, u64 nr);
void guest_takes_back(struct gmem_vm *g, u64 page, u64 nr);

/* Is the page of the file mappable, i.e. shared?  expect_state() checks each page of a range. */
bool is_mappable(struct gmem_vm *g, u64 page);
void expect_state(struct gmem_vm *g, u64 page, u64 nr, u64 attributes);

/* Identifies a page, and is neither 0 nor what NONE leaves on x86. */
static inline u8 letter(u64 page)
{
	return 'A' + page;
}

void write_letters(struct gmem_vm *g);
/* Expects that nobody holds a page and that all bytes are there: both directions, both sides. */
void expect_letters_and_no_holder(struct gmem_vm *g);

/* The host frame of a page of the mapping, which root can read from /proc. */
u64 pfn_of(struct gmem_vm *g, u64 page);
/* The same, without touching it; 0 if it is not mapped. */
u64 mapped_pfn(void *hva);
/* Is it in the page tables of this process? */
bool is_mapped(void *hva);

/* Hold a page of the host's mapping, as a pipe does, and as a device would. */
int pin_in_pipe(void *hva, int pipefd[2]);
void unpin_pipe(int pipefd[2]);
int pin_longterm(void *hva, int *fd);

/*
 * Memory failure: of a page that is mapped here, which returns false if the kernel does not
 * support it; and of a frame, as hardware does it, which returns 0 or -errno.
 */
bool poison_page(struct gmem_vm *g, u64 page);
int poison_frame(u64 pfn);

/* Writes text to an existing file: 0 or -errno. */
int write_file(const char *path, const char *text);

/* The number in a file of "name number" lines, where the name must be present. */
long read_number(const char *path, const char *name);

/*
 * Reports how far a long case is, at most once a second; @total may be 0.  Whoever runs the
 * case ends it when it has been silent for too long, so each loop that can take long calls
 * this.
 */
void show_progress(const char *what, u64 done, u64 total);

/* A variable of the environment, or @otherwise. */
u64 env_number(const char *name, u64 otherwise);

#endif /* SELFTEST_KVM_GMEM_UTIL_H */
