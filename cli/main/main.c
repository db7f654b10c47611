/* The program: a thin main over the library's command line. */
#include <qloom/qloom.h>

int
main(int argc, char **argv)
{
    return ql_main(argc, argv);
}
