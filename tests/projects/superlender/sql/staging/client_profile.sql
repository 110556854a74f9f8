with ranked as (
  select
    *,
    row_number() over (
      partition by user_id
      order by
        birth_date,
        bank_account_type,
        bank_name_clients,
        employment_status_clients,
        level_of_education_clients,
        longitude_gps,
        latitude_gps
    ) as position
  from demographics
)
select
  user_id,
  birth_date,
  bank_account_type,
  bank_name_clients,
  employment_status_clients,
  longitude_gps,
  latitude_gps
from ranked
where position = 1
