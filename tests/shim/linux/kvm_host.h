/* SPDX-License-Identifier: GPL-2.0 */
#include "../../show_shim.h"
