/*  Holds the write lock of the LMDB file of its argument until its input ends: meanwhile the node of
    that store can read, and its writes wait, as if its disk took forever.  */
#include <lmdb.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    MDB_env *env;
    MDB_txn *txn;
    if (argc != 2 || mdb_env_create(&env) != MDB_SUCCESS ||
        mdb_env_set_maxreaders(env, 1024) != MDB_SUCCESS ||
        mdb_env_open(env, argv[1], MDB_NOSUBDIR, 0600) != MDB_SUCCESS ||
        mdb_txn_begin(env, NULL, 0, &txn) != MDB_SUCCESS)
        return 1;
    puts("held");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    mdb_txn_abort(txn);
    return 0;
}
