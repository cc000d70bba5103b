/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * An IOMMU that records which guest pages are mapped, and by which mapping, for errors
 * and limits that a real one does not have on demand.
 */
#ifndef TESTS_LIBGMEM_FAKE_IOMMU_H
#define TESTS_LIBGMEM_FAKE_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

#include "fake_kvm.h"

#define CONTAINER_FD	5000
#define IOMMUFD_FD	5001
#define IOAS		7

extern struct fake_iommu {
	/* By guest page from FAKE_GPA on: the number of its mapping, or 0. */
	unsigned int mapping[FAKE_PAGES];
	unsigned int nr_mapped;
	unsigned int nr_calls;
	/* type1: mappings that are left, and whether it says so. */
	unsigned int available;
	bool says_available;
	/* The call of mapping, counted from 1, that fails, and with what. */
	unsigned int fail_at;
	int error;
	/* Of the iommufd: which IOAS VFIO's calls mean, 0 for none; small pages. */
	uint32_t of_vfio;
	bool small_pages;
	bool keeps_large_pages;
} fake_iommu;

/* 0 or the errno; handles calls that are not KVM's. */
int fake_iommu_call(int fd, unsigned long request, void *arg);

#endif
