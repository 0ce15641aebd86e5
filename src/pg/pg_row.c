#include "pg/pg_row.h"
