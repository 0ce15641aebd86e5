#include "pg/pg_json.h"
