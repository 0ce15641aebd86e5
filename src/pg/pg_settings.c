#include "pg/pg_settings.h"
