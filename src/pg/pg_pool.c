#include "pg/pg_pool.h"
