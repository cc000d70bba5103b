// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "json.h"

/* What is not ASCII may not be UTF-8 either, and JSON has to be: each byte becomes one letter. */
void json_string(FILE *to, const char *text)
{
	const unsigned char *at;

	putc('"', to);
	for (at = (const unsigned char *)text; *at; at++) {
		if (*at == '"' || *at == '\\')
			fprintf(to, "\\%c", *at);
		else if (*at < ' ' || *at > '~')
			fprintf(to, "\\u%04x", *at);
		else
			putc(*at, to);
	}
	putc('"', to);
}
