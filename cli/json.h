/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Text of others in JSON: a process may have any name. */
#ifndef GMEM_JSON_H
#define GMEM_JSON_H

#include <stdio.h>

/* With the quotes. */
void json_string(FILE *to, const char *text);

#endif
