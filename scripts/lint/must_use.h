/* Included in front of every file by scripts/check-calls.sh: calls of the C library whose failure loses or invents data. Their result is
 * read, or visibly thrown away with a (void), where there is nothing left to say or to save. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MUST __attribute__((warn_unused_result))

MUST int fclose(FILE *);
MUST int fflush(FILE *);
MUST size_t fwrite(const void *, size_t, size_t, FILE *);
MUST size_t fread(void *, size_t, size_t, FILE *);
MUST int fsync(int);
MUST int ftruncate(int, off_t);
MUST int unlink(const char *);
MUST int rmdir(const char *);
MUST int remove(const char *);
MUST int rename(const char *, const char *);
MUST int mkdir(const char *, mode_t);
MUST int stat(const char *, struct stat *);
MUST int lstat(const char *, struct stat *);
MUST int fstat(int, struct stat *);
MUST int fstatat(int, const char *, struct stat *, int);
MUST int utimensat(int, const char *, const struct timespec[2], int);
MUST DIR *opendir(const char *);
MUST struct dirent *readdir(DIR *);
MUST int mprotect(void *, size_t, int);
MUST void *realloc(void *, size_t);
