#include "pg/pg_conn.h"
